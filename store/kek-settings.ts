import { Binary } from 'mongodb'
import type { FleetSettings } from '../contracts/settings.ts'
import type { SettingsDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { wellFormed } from './own-documents.ts'
import type { Store } from './store.ts'

/** What `setup` recorded for the whole fleet; null before it ran. */
export async function readSettings(store: Store): Promise<SettingsDoc | null> {
  return wellFormed.settings(await keystore.settings(store).findOne({ _id: 'settings' }))
}

/** Only `setup` calls this, after it has shown the difference and asked. */
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
