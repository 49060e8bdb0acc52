import { versionState, type VersionRow } from './version-state.ts'

/** Which versions a policy's run rotates between. */

interface Row extends VersionRow {
  readonly origin: string
}

/** Versions that were active, oldest first: envelopes that are still under one are re-wrapped first. */
export function leftVersions(rows: readonly VersionRow[], active: number): number[] {
  return rows
    .filter((row) => versionState(row, active) === 'deactivated')
    .map(({ _id }) => _id)
    .sort((one, other) => one - other)
}

/** The oldest installed version that was never active; null if there is none. */
export function unusedVersion(rows: readonly VersionRow[], active: number): number | null {
  const unused = rows.filter((row) => versionState(row, active) === 'pre-active')
  return unused.length === 0 ? null : Math.min(...unused.map(({ _id }) => _id))
}

/** The number of the version to make: that of an installation that was interrupted, or the next one. */
export function versionToMake(rows: readonly Row[], origin: string): number {
  const highest = rows.reduce((one, other) => (other._id > one._id ? other : one))
  const isOpen = versionState(highest, null) === 'installing' && highest.origin === origin
  return isOpen ? highest._id : highest._id + 1
}
