import type { VersionState } from '../contracts/kek.ts'

/** The facts of a `kek_versions` row that its state follows from; dates may be Date or ISO strings, only their absence counts. */
export interface VersionRow {
  readonly _id: number
  readonly canary?: unknown
  readonly removal?: unknown
  readonly destroyed_at?: unknown
  readonly activated_at?: unknown
}

/**
 * The state of a version (NIST SP 800-57 part 1, section 7). It is derived, never stored. A row without a canary is
 * an intent, `installing`, unknown to status, verify and rotate. What is asked to go away is `pending-removal` even
 * if it should be active as well: nobody wraps under what may be destroyed.
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
