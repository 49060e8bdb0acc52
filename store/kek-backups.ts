import { KeyturnError } from '../contracts/errors.ts'
import { recordAudit } from './audit-outbox.ts'
import type { BackupDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Marked backups, the oldest first. */
export async function readBackups(store: Store): Promise<BackupDoc[]> {
  return await keystore.backups(store).find().sort({ taken_at: 1, _id: 1 }).toArray()
}

/**
 * Marks a backup. It also starts the guards of every pending removal anew: a last look that has not read it destroys nothing.
 * The same again changes nothing. Throws `usage` if the name has other times.
 */
export async function markBackup(store: Store, row: Omit<BackupDoc, 'marked_at'>): Promise<void> {
  await inTransaction(store, async (session) => {
    const there = await keystore.backups(store).findOne({ _id: row._id }, { session })
    if (there !== null) {
      if (isSame(there, row)) return
      throw new KeyturnError('usage', `backup "${row._id}" is marked with other times`, {
        hint: `another name, or first: keyturn backup drop ${row._id}`,
      })
    }
    const { _id, taken_at, keep_until, marked_by } = row
    await keystore.backups(store).updateOne(
      { _id },
      [
        {
          $set: { taken_at, keep_until, marked_by: { $literal: marked_by }, marked_at: '$$NOW' },
        },
      ],
      { session, upsert: true },
    )
    await keystore
      .versions(store)
      .updateMany(
        { removal: { $ne: null }, destroyed_at: null },
        { $inc: { 'removal.guard_run': 1 } },
        { session },
      )
    await recordAudit(store, entryOf('backup-marked', row, marked_by), session)
  })
}

/** Forgets a backup. False if none has the name. */
export async function dropBackup(store: Store, name: string, by: string): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const row = await keystore.backups(store).findOneAndDelete({ _id: name }, { session })
    if (row === null) return false
    await recordAudit(store, entryOf('backup-dropped', row, by), session)
    return true
  })
}

function isSame(there: BackupDoc, row: Omit<BackupDoc, 'marked_at'>): boolean {
  return (
    there.taken_at.getTime() === row.taken_at.getTime() &&
    there.keep_until?.getTime() === row.keep_until?.getTime()
  )
}

function entryOf(action: string, row: Omit<BackupDoc, 'marked_at'>, actor: string) {
  const details = { takenAt: row.taken_at, keepUntil: row.keep_until, claimed: true }
  return { actor, action, subject: row._id, details }
}
