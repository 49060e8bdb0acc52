import { Binary } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { FleetSettings } from '../contracts/settings.ts'
import { useApproval } from './approval-use.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { SettingsDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import { settingsSubject } from './settings-approval.ts'
import { settingsHash } from './settings-hash.ts'
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
 * Only `setup` calls this, after it has shown the difference and asked for confirmation. Uses the approvals that the change
 * needs. Throws `approval-missing`, and nothing is changed then. Without `entry` the audit tells nothing: only what can be
 * read of the collections was recorded. `changes`: the lines that were shown.
 */
export async function writeSettings(
  store: Store,
  options: {
    settings: FleetSettings
    by: string
    changes?: readonly string[]
    entry?: AuditEntry
  },
): Promise<void> {
  const { settings, by, changes = [], entry } = options
  const sha256 = settingsHash(settings)
  await inTransaction(store, async (session) => {
    const recorded = await keystore.settings(store).findOne({ _id: 'settings' }, { session })
    const subject = recorded === null ? null : settingsSubject(recorded.settings, settings, changes)
    if (subject !== null) {
      await useApproval(store, subject, { usedFor: sha256.toString('hex'), by }, session)
    }
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
