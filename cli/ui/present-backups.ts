import type { BackupView } from '../../contracts/backups.ts'
import { table } from './tables.ts'

/** Marked backups with the versions that each needs. */
export function backupsText(backups: readonly BackupView[]): string {
  if (backups.length === 0) return 'no backup is marked'
  return table(
    ['backup', 'taken at', 'kept until', 'versions'],
    backups.map(({ name, takenAt, keepUntil, versions }) => [
      name,
      takenAt,
      keepUntil ?? 'it is dropped',
      versions.map((version) => `v${version}`).join(', '),
    ]),
  )
}
