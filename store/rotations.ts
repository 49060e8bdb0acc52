import { clipped } from '../contracts/clipped.ts'
import { KeyturnError, type ErrorReport } from '../contracts/errors.ts'
import {
  rotationPhases,
  type Counters,
  type RotateInput,
  type RotationPhase,
} from '../contracts/rotation.ts'
import type { RotationDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './server-errors.ts'
import { countOr } from './stored-counts.ts'
import { serverNow, type Store } from './store.ts'

/** Limit of an operator's text in characters, so that the row stays readable. */
const longestName = 300
const longestReason = 2_000

type RequestFields = 'rotation' | 'from' | 'to' | 'requestedBy' | 'reason' | 'maxHsmCalls'
type SweepFields = 'page' | 'shards' | 'check' | 'priority'

export interface NewRotation extends Pick<RotateInput, RequestFields | SweepFields> {
  workflowId: string
  runId: string | null
}

/** Inserts the row, in phase `preflight`. Returns the stored row, which may be from an earlier try. */
export async function insertRotation(store: Store, input: NewRotation): Promise<RotationDoc> {
  const row: RotationDoc = {
    _id: input.rotation,
    from: input.from,
    to: input.to,
    phase: 'preflight',
    outcome: null,
    requested_by: clipped(input.requestedBy, longestName),
    reason: clipped(input.reason, longestReason),
    started_at: await serverNow(store),
    promoted_at: null,
    settled_at: null,
    ended_at: null,
    seen: null,
    way: {
      ...{ page: input.page, shards: input.shards, check: input.check },
      priority: input.priority ?? 'rotation',
    },
    epoch: null,
    fleet_left: null,
    total: null,
    counters: null,
    hsm_reserved: 0,
    max_hsm_calls: input.maxHsmCalls,
    silent: [],
    workflow_id: input.workflowId,
    run_id: input.runId,
    error: null,
    shards_closed: false,
    touches: 0,
  }
  try {
    await keystore.rotations(store).insertOne(row)
    return row
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  const there = await readRotation(store, input.rotation)
  if (there === null) throw new KeyturnError('internal', `rotation "${input.rotation}" is gone`)
  return there
}

export async function readRotation(store: Store, rotation: string): Promise<RotationDoc | null> {
  return keystore.rotations(store).findOne({ _id: rotation })
}

/** The one that ended last. */
export async function lastRotation(store: Store): Promise<RotationDoc | null> {
  return keystore
    .rotations(store)
    .findOne({ ended_at: { $ne: null } }, { sort: { ended_at: -1, _id: -1 } })
}

/** The newest that has not ended; its workflow may be gone. */
export async function runningRotation(store: Store): Promise<RotationDoc | null> {
  return keystore
    .rotations(store)
    .findOne({ ended_at: null }, { sort: { started_at: -1, _id: -1 } })
}

/** Members of the row that are written together with a phase. */
export type PhaseFields = Partial<
  Pick<RotationDoc, 'total' | 'plan' | 'seen' | 'silent' | 'max_hsm_calls'>
>

/**
 * Moves the row on, never back; entering `finish` dates `settled_at`. False, and nothing written, when it has ended or
 * is in a later phase.
 */
export async function setPhase(
  store: Store,
  rotation: string,
  phase: RotationPhase,
  fields: PhaseFields = {},
): Promise<boolean> {
  const reached = rotationPhases.slice(0, rotationPhases.indexOf(phase) + 1)
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null, phase: { $in: reached } }, [
      {
        $set: {
          ...literals(fields),
          phase,
          [`phases.${phase}`]: { $ifNull: [`$phases.${phase}`, '$$NOW'] },
          ...(phase === 'finish' ? { settled_at: { $ifNull: ['$settled_at', '$$NOW'] } } : {}),
        },
      },
    ])
  return matchedCount === 1
}

/** Records the rotation's new question to the fleet, without answers yet. Writes nothing if the rotation has ended. */
export async function setQuestion(
  store: Store,
  rotation: string,
  question: NonNullable<RotationDoc['question']>,
): Promise<void> {
  await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null }, { $set: { question, met: [] } })
}

/** Records the processes that answered the rotation's question, as `node/boot`. Writes nothing if the question has changed. */
export async function setMet(
  store: Store,
  rotation: string,
  { nonce, met }: { nonce: string; met: readonly string[] },
): Promise<void> {
  await keystore
    .rotations(store)
    .updateOne(
      { _id: rotation, ended_at: null, 'question.nonce': nonce },
      { $set: { met: [...met] } },
    )
}

/** Records that a look of settle has succeeded, if the rotation has not ended. */
export async function recordFleetLeft(
  store: Store,
  rotation: string,
  { epoch, silent }: { epoch: number; silent: readonly string[] },
): Promise<void> {
  await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null }, [
      { $set: { fleet_left: { ...literals({ epoch, silent: [...silent] }), at: '$$NOW' } } },
    ])
}

/** Records what settle waits for, for `status`. Writes nothing if the rotation has ended. */
export async function setAwaiting(
  store: Store,
  rotation: string,
  awaiting: readonly string[],
): Promise<void> {
  await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null }, { $set: { awaiting: [...awaiting] } })
}

export interface RotationEnd {
  error?: ErrorReport | null
  counters?: Counters | null
  silent?: string[]
}

/** Ends the row. False when it had ended before: the first outcome stays. Close its ranges and clear its marks after. */
export async function endRotation(
  store: Store,
  rotation: string,
  outcome: NonNullable<RotationDoc['outcome']>,
  end: RotationEnd = {},
): Promise<boolean> {
  const { counters } = end
  const fields = {
    outcome,
    ...(end.error === undefined ? {} : { error: end.error }),
    ...(end.silent === undefined ? {} : { silent: end.silent }),
    ...(counters === undefined || counters === null
      ? {}
      : {
          counters: {
            rewrapped: counters.rewrapped,
            superseded: counters.superseded,
            quarantined: counters.quarantined,
            hsm_calls: counters.hsmCalls,
          },
        }),
  }
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null }, [
      { $set: { ...literals(fields), ended_at: '$$NOW' } },
    ])
  return matchedCount === 1
}

/**
 * Reserves `calls` crypt calls of the rotation's budget, for good. False, and nothing reserved, when fewer are left or
 * the rotation has ended. A rotation without a budget only adds them up.
 */
export async function reserveHsmCalls(
  store: Store,
  rotation: string,
  calls: number,
): Promise<boolean> {
  const within = {
    $or: [
      { $eq: ['$max_hsm_calls', 0] },
      { $lte: [{ $add: ['$hsm_reserved', calls] }, '$max_hsm_calls'] },
    ],
  }
  const { matchedCount } = await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null, $expr: within }, { $inc: { hsm_reserved: calls } })
  return matchedCount === 1
}

/** Sum of the counters of the rotation's ranges; exact after any crash. */
export async function sumCounters(store: Store, rotation: string): Promise<Counters> {
  const sum = (name: string) => ({ $sum: countOr(`$counters.${name}`, 0) })
  const [counters] = await keystore
    .ranges(store)
    .aggregate<Counters>([
      { $match: { '_id.rotation': rotation } },
      {
        $group: {
          _id: null,
          rewrapped: sum('rewrapped'),
          superseded: sum('superseded'),
          quarantined: sum('quarantined'),
          hsmCalls: sum('hsm_calls'),
        },
      },
      { $project: { _id: 0 } },
    ])
    .toArray()
  return counters ?? { rewrapped: 0, superseded: 0, quarantined: 0, hsmCalls: 0 }
}

/** In an update by pipeline, strings that begin with `$` would be expressions. */
function literals(fields: object): Record<string, { $literal: unknown }> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, { $literal: value as unknown }]),
  )
}
