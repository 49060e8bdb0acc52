import { KeyturnError } from '../contracts/errors.ts'
import type { VersionState } from '../contracts/kek.ts'
import { isLoadable, versionState, type VersionRow } from './version-state.ts'

export interface RouteVersion {
  version: number
  state: VersionState
  /** Raw census of the version; quarantined envelopes count. */
  envelopes: number
}

export interface RouteFacts {
  versions: readonly RouteVersion[]
  /** Null: no version was ever active. */
  active: number | null
  /** `--from-version`; absent or null asks for the default. */
  from?: number | null
  to: number
}

export interface RotationRoute {
  from: number
  to: number
  /** False when B is active already: the rotation finishes one that was cancelled after its promote. */
  promote: boolean
}

/** The versions of the keystore. `envelopes` is the raw census by version; a version without an entry has none. */
export function routeVersions(
  rows: readonly VersionRow[],
  active: number | null,
  envelopes: Readonly<Record<string, number>>,
): RouteVersion[] {
  return rows.map((row) => ({
    version: row._id,
    state: versionState(row, active),
    envelopes: envelopes[row._id] ?? 0,
  }))
}

/** Throws `versions-equal` for the same version twice, before anything is read. */
export function requireTwoVersions({ from, to }: { from: number | null; to: number }): void {
  if (from !== to) return
  throw new KeyturnError('versions-equal', `from and to are the same version "${to}"`, {
    hint: 'name two versions; keyturn status lists them',
  })
}

/** The versions that a rotation runs between. Throws preflight's refusals; no key or envelope was touched. */
export function rotationRoute(facts: RouteFacts): RotationRoute {
  const { active, to } = facts
  const given = facts.from ?? null
  requireNumber(to)
  if (given !== null) requireNumber(given)
  requireTwoVersions({ from: given, to })
  if (active === null) {
    throw new KeyturnError('not-installed', 'no version is active in this database', {
      hint: 'run: keyturn pkcs11-init --version 1, or: keyturn env-init --version 1',
    })
  }
  requireUsable(facts.versions, to)
  const from = given ?? defaultFrom(facts, active)
  requireUsable(facts.versions, from)
  if (to === active) return { from, to, promote: false }
  if (from === active) return { from, to, promote: true }
  throw new KeyturnError('not-active', `version "${from}" is not active, "${active}" is`, {
    hint: `leave --from-version out, or name --from-version ${active}`,
  })
}

/** The active version. If B is active already: the oldest other version with envelopes, or else the last deactivated one. */
function defaultFrom({ versions, to }: RouteFacts, active: number): number {
  if (to !== active) return active
  const others = versions
    .filter(({ version, state }) => version !== to && isLoadable(state))
    .sort((one, other) => one.version - other.version)
  const from =
    others.find(({ envelopes }) => envelopes > 0) ??
    others.findLast(({ state }) => state === 'deactivated')
  if (from === undefined) {
    throw new KeyturnError('versions-equal', `version "${to}" is active already`, {
      hint: 'no envelope is under another version, so there is nothing to rotate',
    })
  }
  return from.version
}

function requireNumber(version: number): void {
  if (Number.isInteger(version) && version >= 1 && version <= 2 ** 31 - 1) return
  throw new KeyturnError('version-invalid', `"${version}" is no version number`, {
    hint: 'versions are whole numbers from 1 to 2147483647',
  })
}

/** Refuses a version that is not installed, destroyed, or in removal. */
export function requireUsable(
  versions: readonly Pick<RouteVersion, 'version' | 'state'>[],
  version: number,
): void {
  const state = versions.find((row) => row.version === version)?.state
  switch (state) {
    case undefined:
    case 'installing':
      throw new KeyturnError('version-unknown', `version "${version}" is not installed`, {
        hint: `run: keyturn pkcs11-init --version ${version}, or: keyturn env-init --version ${version}`,
      })
    case 'destroyed':
      throw new KeyturnError('version-destroyed', `version "${version}" was destroyed`, {
        hint: 'a destroyed version number is not used again: install the next one',
      })
    case 'pending-removal':
      throw new KeyturnError('removal-pending', `the removal of version "${version}" is pending`, {
        hint: `run first: keyturn remove --version ${version} --undo`,
      })
    case 'pre-active':
    case 'active':
    case 'deactivated':
  }
}
