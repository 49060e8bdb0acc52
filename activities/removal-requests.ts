import { KeyturnError } from '../contracts/errors.ts'
import type { RemovalStep, RemoveInput } from '../contracts/removal.ts'
import type { Guard } from '../contracts/views.ts'
import { hsmKeyOf, leftUntil, removalPhase } from '../protocol/removal-phase.ts'
import { versionState } from '../protocol/version-state.ts'
import type { RemovalRequestDoc, VersionDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { readRemoval } from '../store/removal-requests.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { requireInstalled } from './settings.ts'

/** Minimum wait before a request that is about to be due is read again, in ms. */
const leastWaitMs = 200

/**
 * The row that a command wrote for this request in this keystore. Throws `foreign-task` if there is none: the step is forged
 * or belongs to another keystore. Throws `removal-refused` if the row is for another version.
 */
export async function requireRequest(
  { store }: ControlDeps,
  { version, request }: RemoveInput,
): Promise<RemovalRequestDoc> {
  const row = await readRemoval(store, request)
  if (row === null) {
    throw new KeyturnError(
      'foreign-task',
      `no removal "${request}" was requested in this keystore`,
      {
        hint: 'removals are requested with: keyturn remove',
      },
    )
  }
  if (row.version === version) return row
  throw new KeyturnError('removal-refused', `removal "${request}" is not of version ${version}`, {
    hint: `it was requested for version ${row.version}`,
  })
}

/** The current state of the request. */
export async function stepOf(
  deps: ControlDeps,
  input: RemoveInput,
  ownNow: () => Date,
  more: { guards?: Guard[]; error?: RemovalStep['error'] } = {},
): Promise<RemovalStep> {
  const { store } = deps
  const request = await requireRequest(deps, input)
  const row = await requireInstalled(store, request.version)
  const clocks = { now: await serverNow(store), ownNow: ownNow() }
  const phase = removalPhase(request, row, clocks)
  const until = untilOf(phase, request, row)
  const leftMs = leftUntil(until, clocks)
  return {
    version: row._id,
    request: request._id,
    phase,
    state: versionState(row, (await readActive(store))?.version ?? null),
    waitMs: leftMs === 0 ? 0 : Math.max(leastWaitMs, leftMs),
    dueAt: until?.toISOString() ?? null,
    hsmKey: hsmKeyOf(row),
    guards: more.guards ?? [],
    error: more.error ?? null,
  }
}

function untilOf(
  phase: RemovalStep['phase'],
  request: RemovalRequestDoc,
  row: VersionDoc,
): Date | null {
  if (phase === 'planned') return request.not_before
  return phase === 'pending' ? (row.removal?.due_at ?? null) : null
}
