import { KeyturnError } from '../contracts/errors.ts'
import type { BackupView } from '../contracts/backups.ts'
import type { Config } from '../contracts/settings.ts'
import { isNeededBy, lifeOf, type VersionLife } from '../protocol/backup-needs.ts'
import { countVersions } from '../store/census.ts'
import type { BackupDoc } from '../store/documents.ts'
import { dropBackup, markBackup, readBackups } from '../store/kek-backups.ts'
import { readVersions } from '../store/kek-versions.ts'
import { countQuarantine } from '../store/rewrap-quarantine.ts'
import { serverNow } from '../store/store.ts'
import { requireInstalled, withKeystore, withOwnKeystore, type Keystore } from './keystore.ts'
import { requester } from './temporal/names.ts'

export interface NewBackup {
  name: string
  /** When it began; null: now. */
  takenAt: Date | null
  /** Null: until it is dropped. */
  keepUntil: Date | null
}

/**
 * Marks a backup, so that no version that it needs is removed while it is kept. Also returns the versions that it needs and
 * that are destroyed. Throws `usage` for a start in the future, an end that is over, and a name that has other times.
 */
export async function markNewBackup(
  config: Config,
  { name, takenAt, keepUntil }: NewBackup,
): Promise<{ backup: BackupView; destroyed: number[] }> {
  return withOwnKeystore(config, async (keystore) => {
    requireInstalled(keystore, config)
    const { store } = keystore
    const now = await serverNow(store)
    if (takenAt !== null && takenAt > now) throw outOfTime('--taken-at', takenAt, 'the future')
    if (keepUntil !== null && keepUntil <= now) throw outOfTime('--keep-until', keepUntil, 'the past') // prettier-ignore
    const marked_by = requester()
    await markBackup(store, { _id: name, taken_at: takenAt ?? now, keep_until: keepUntil, marked_by }) // prettier-ignore
    const backup = (await viewsOf(keystore)).find((each) => each.name === name)
    if (backup === undefined) throw new Error('a marked backup is gone')
    const gone = (await readVersions(store)).filter(({ destroyed_at }) => destroyed_at !== null)
    const destroyed = gone.map(({ _id }) => _id).filter((each) => backup.versions.includes(each))
    return { backup, destroyed }
  })
}

/** All marked backups, the oldest first, with the versions that each needs. */
export async function listBackups(config: Config): Promise<{ backups: BackupView[] }> {
  return withKeystore(config, async (keystore) => ({ backups: await viewsOf(keystore) }))
}

/** Forgets a backup that is kept no longer. `ask` gets it first. Throws `usage` if none has the name. */
export async function dropMarkedBackup(
  config: Config,
  name: string,
  ask: (backup: BackupView) => Promise<void>,
): Promise<{ dropped: BackupView }> {
  return withOwnKeystore(config, async (keystore) => {
    const dropped = (await viewsOf(keystore)).find((each) => each.name === name)
    if (dropped === undefined) throw unknownBackup(name)
    await ask(dropped)
    if (!(await dropBackup(keystore.store, name, requester()))) throw unknownBackup(name)
    return { dropped }
  })
}

async function viewsOf({ store, settings }: Keystore): Promise<BackupView[]> {
  const rows = await readBackups(store)
  const lives: { version: number; life: VersionLife }[] = []
  const { odd } = await countVersions(store, settings.collections)
  const isOdd = odd > 0 || (await countQuarantine(store, null)) > 0
  for (const row of await readVersions(store)) {
    const isHeld = isOdd || (await countQuarantine(store, row._id)) > 0
    lives.push({ version: row._id, life: lifeOf(row, isHeld) })
  }
  return rows.map((row) => {
    const takenAt = row.taken_at.toISOString()
    const needed = lives.filter(({ life }) => isNeededBy(takenAt, life))
    return viewOf(
      row,
      needed.map(({ version }) => version),
    )
  })
}

function viewOf({ _id: name, taken_at, keep_until }: BackupDoc, versions: number[]): BackupView {
  return {
    name,
    takenAt: taken_at.toISOString(),
    keepUntil: keep_until?.toISOString() ?? null,
    versions,
  }
}

function outOfTime(option: string, at: Date, where: string): KeyturnError {
  return new KeyturnError('usage', `${option} "${at.toISOString()}" is in ${where}`, {
    hint: 'the database’s clock counts; a time is written as 2026-03-01T03:00:00Z',
  })
}

function unknownBackup(name: string): KeyturnError {
  return new KeyturnError('usage', `no backup "${name}" is marked`, {
    hint: 'keyturn backup list shows them',
  })
}
