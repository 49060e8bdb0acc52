import type { VersionState } from '../contracts/kek.ts'

/** The members of a `kek_versions` row that its state follows from. Dates may be Date or ISO strings; only presence counts. */
export interface VersionRow {
  readonly _id: number
  readonly canary?: unknown
  readonly removal?: unknown
  readonly destroyed_at?: unknown
  readonly activated_at?: unknown
}

/**
 * The state of a version (NIST SP 800-57 part 1, section 7). It is derived, never stored. A row without a canary is an
 * intent, `installing`, unknown to status, verify and rotate. A version in removal is `pending-removal` even if it is also
 * active: no process may wrap under a version that may be destroyed.
 */
export function versionState(row: VersionRow, active: number | null): VersionState {
  if (isThere(row.destroyed_at)) return 'destroyed'
  if (!isThere(row.canary)) return 'installing'
  if (isThere(row.removal)) return 'pending-removal'
  if (row._id === active) return 'active'
  return isThere(row.activated_at) ? 'deactivated' : 'pre-active'
}

/** Whether a process of the fleet should hold a version of this state in memory. */
export function isLoadable(state: VersionState): boolean {
  return state === 'pre-active' || state === 'active' || state === 'deactivated'
}

function isThere(value: unknown): boolean {
  return value !== undefined && value !== null
}
