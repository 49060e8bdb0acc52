import type { ClientSession } from 'mongodb'
import { rotationPhases, type Counters, type RotationPhase } from '../contracts/rotation.ts'
import type { RotationDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { literals } from './literals.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import type { RecordedField, RecordedFleet } from './record-schema.ts'
import { recordedFleet } from './rotation-record.ts'
import { serverNow, type Store } from './store.ts'

/** What a running rotation records in its row. Nothing is written into the row of one that has ended. */

/** When so many samples are there, every second one is dropped. */
const mostSamples = 500

/** Members of the row that are written together with a phase. */
export type PhaseFields = Partial<
  Pick<RotationDoc, 'total' | 'plan' | 'seen' | 'silent' | 'max_hsm_calls'> & {
    'record.before': RecordedField[]
  }
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

/** Records that a look of settle has succeeded, and the fleet then, if the rotation has not ended. */
export async function recordFleetLeft(
  store: Store,
  { _id: rotation, from, to }: Pick<RotationDoc, '_id' | 'from' | 'to'>,
  { epoch, silent }: { epoch: number; silent: readonly string[] },
): Promise<void> {
  const heartbeats = await readHeartbeats(store)
  const fleet = recordedFleet(heartbeats, { from, to }, await serverNow(store))
  await keystore.rotations(store).updateOne({ _id: rotation, ended_at: null }, [
    {
      $set: {
        fleet_left: { ...literals({ epoch, silent: [...silent] }), at: '$$NOW' },
        ...literals({ 'record.fleet_at_settle': fleet }),
      },
    },
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

/** Records the fleet that promote met, in promote's transaction. */
export async function recordFleetAtPromote(
  store: Store,
  rotation: string,
  fleet: RecordedFleet,
  session: ClientSession,
): Promise<void> {
  await keystore
    .rotations(store)
    .updateOne({ _id: rotation }, { $set: { 'record.fleet_at_promote': fleet } }, { session })
}

/** Adds a sample to the record of a running rotation of this workflow; else nothing is written. */
export async function recordSample(
  store: Store,
  { rotation, workflowId }: { rotation: string; workflowId: string },
  { rewrapped, superseded, quarantined, hsmCalls }: Counters,
): Promise<void> {
  const sample = {
    at: '$$NOW',
    ...literals({ envelopes: rewrapped + superseded + quarantined, hsm_calls: hsmCalls }),
  }
  const samples = { $cond: [{ $isArray: '$record.samples' }, '$record.samples', []] }
  const halved = {
    $map: {
      input: { $range: [1, { $size: samples }, 2] },
      in: { $arrayElemAt: [samples, '$$this'] },
    },
  }
  const kept = { $cond: [{ $lt: [{ $size: samples }, mostSamples] }, samples, halved] }
  await keystore
    .rotations(store)
    .updateOne({ _id: rotation, ended_at: null, workflow_id: workflowId }, [
      { $set: { 'record.samples': { $concatArrays: [kept, [sample]] } } },
    ])
}
