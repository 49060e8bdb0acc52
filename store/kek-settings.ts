import { Binary } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { FleetSettings } from '../contracts/settings.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { SettingsDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

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

/**
 * Only `setup` calls this, after it has shown the difference and asked for confirmation. Without `entry` the audit tells
 * nothing: only what can be read of the collections was recorded.
 */
export async function writeSettings(
  store: Store,
  options: { settings: FleetSettings; sha256: Uint8Array; by: string; entry?: AuditEntry },
): Promise<void> {
  const { settings, sha256, by, entry } = options
  await inTransaction(store, async (session) => {
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
      { upsert: true, session },
    )
    if (entry !== undefined) await recordAudit(store, entry, session)
  })
}
