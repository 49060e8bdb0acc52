import type { ErrorReport } from '../contracts/errors.ts'
import type { RotateInput, RotateResult } from '../contracts/rotation.ts'
import { silentAtEnd } from '../protocol/settle.ts'
import { remainingOf } from '../store/census.ts'
import type { RotationDoc } from '../store/documents.ts'
import { appendAudit } from '../store/kek-audit.ts'
import { readSettings } from '../store/kek-settings.ts'
import { readActive } from '../store/kek-active.ts'
import { clearMarks, recordLeft } from '../store/kek-versions.ts'
import { closeShards } from '../store/rewrap-shards.ts'
import { countQuarantine, recheckQuarantine } from '../store/rewrap-quarantine.ts'
import { endRotation, readRotation, setPhase, sumCounters } from '../store/rotations.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet } from './fleet.ts'

export interface FinishInput extends RotateInput {
  /** Nobody can write under A any more, and the census of A was zero twice. */
  settled: boolean
  /** Nodes that settle's look found silent. */
  silent: string[]
  error: ErrorReport | null
}

/**
 * The end of every rotation, however it came: shards closed (so that no page in flight is written behind it), record,
 * marks off, audit. Repeating it changes nothing.
 */
export async function finishRotation(deps: ControlDeps, input: FinishInput): Promise<RotateResult> {
  const { store } = deps
  const { rotation, from, to, error } = input
  await closeShards(store, { rotation })
  const row = await readRotation(store, rotation)
  const counters = await sumCounters(store, rotation)
  const collections = (await readSettings(store))?.settings.collections ?? []
  for (const version of [from, null]) await recheckQuarantine(store, version)
  const remaining = await remainingOf(store, collections, from)
  const silent = input.settled ? await whoIsSilent(deps, input, row) : input.silent
  const quarantined = (await countQuarantine(store, from)) + (await countQuarantine(store, null))
  const outcome = outcomeOf(input, row, quarantined)
  if (input.settled) {
    await recordLeft(store, from, rotation)
    await setPhase(store, rotation, 'finish')
  }
  const isNew = await endRotation(store, rotation, outcome, { error, counters, silent })
  await clearMarks(store, rotation)
  if (isNew) {
    await appendAudit(store, {
      actor: input.requestedBy,
      action: `rotation-${outcome}`,
      subject: rotation,
      details: { from, to, ...counters, remaining, silent, error: error?.code ?? null },
    })
  }
  const endedAt = (await readRotation(store, rotation))?.ended_at ?? (await serverNow(store))
  const startedAt = row?.started_at ?? endedAt
  const durationSeconds = (endedAt.getTime() - startedAt.getTime()) / 1000
  return { rotation, from, to, outcome, remaining, silent, error, ...counters, durationSeconds }
}

/** Settle looked at the fleet long ago if the sweep was long: who has come back since is not named. */
async function whoIsSilent(
  deps: ControlDeps,
  { silent }: FinishInput,
  row: RotationDoc | null,
): Promise<string[]> {
  const epoch = row?.epoch ?? (await readActive(deps.store))?.epoch ?? 0
  const { roster, heartbeats } = await readFleet(deps)
  return silentAtEnd(silent, roster, heartbeats, epoch)
}

function outcomeOf(
  { settled, error }: FinishInput,
  row: RotationDoc | null,
  quarantined: number,
): RotateResult['outcome'] {
  if (settled) return quarantined > 0 ? 'completed-with-quarantine' : 'completed'
  if (error?.code === 'cancelled') return 'cancelled'
  const isTouched =
    row !== null && (row.promoted_at !== null || ['rewrap', 'settle'].includes(row.phase))
  return isTouched ? 'failed' : 'refused'
}
