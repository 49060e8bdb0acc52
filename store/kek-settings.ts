import { Binary } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { FleetSettings } from '../contracts/settings.ts'
import type { SettingsDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import type { Store } from './store.ts'

/** What `setup` recorded for the whole fleet; null before it ran. */
export async function readSettings(store: Store): Promise<SettingsDoc | null> {
  return await keystore.settings(store).findOne({ _id: 'settings' })
}

/** Throws `document-malformed` for incomplete settings: no wait and no removal may depend on a missing value. */
export function requireWhole(settings: FleetSettings): FleetSettings {
  for (const part of ['fleet', 'removal'] as const) {
    if (!(part in settings)) throw malformed(collections.settings, 'settings', `settings.${part}`)
  }
  return settings
}

/** Only `setup` calls this, after it has shown the difference and asked for confirmation. */
export async function writeSettings(
  store: Store,
  options: { settings: FleetSettings; sha256: Uint8Array; by: string },
): Promise<void> {
  const { settings, sha256, by } = options
  await keystore.settings(store).updateOne(
    { _id: 'settings' },
    [
      {
        $set: {
          settings: { $literal: settings },
          sha256: new Binary(sha256),
          at: '$$NOW',
          by: { $literal: by },
        },
      },
    ],
    { upsert: true },
  )
}
