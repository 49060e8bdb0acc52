import type { ErrorReport } from '../contracts/errors.ts'
import type { RunOutcome } from '../contracts/policy.ts'
import { recordAudit } from './audit-outbox.ts'
import type { PlannedRemovalDoc, PolicyDoc, PolicyRunDoc } from './policy-document.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** The runs of a policy, as its own steps record them. Each write names its run, so a late one changes nothing. */

/** Ended runs that are kept. */
const keptRuns = 20
const actor = 'policy'

export interface NewRun extends Pick<
  PolicyRunDoc,
  'id' | 'cause' | 'reason' | 'at' | 'outside' | 'until'
> {
  /** The node that begins it. */
  worker: string
}

/** Begins a run, unless the policy was changed, paused, or began one since it was read. */
export async function beginRun(
  store: Store,
  { task, next_at: nextAt }: PolicyDoc,
  run: NewRun,
  then: { nextAt: Date; earlyAt: Date | null },
): Promise<boolean> {
  const { worker, ...members } = run
  const begun: PolicyRunDoc = {
    ...members,
    waits_for: null,
    rotations: [],
    ended_at: null,
    outcome: null,
    error: null,
  }
  const { id, cause, reason } = run
  return await inTransaction(store, async (session) => {
    const { matchedCount } = await keystore
      .policy(store)
      .updateOne(
        { _id: 'policy', task, next_at: nextAt, paused: null, run: null },
        { $set: { run: begun, asked: null, next_at: then.nextAt, early_at: then.earlyAt } },
        { session },
      )
    if (matchedCount === 0) return false
    const details = { run: id, cause, reason, claimed: false, worker }
    await recordAudit(store, { actor, action: 'policy-run', subject: 'policy', details }, session)
    return true
  })
}

/** Drops a request to run that no look may begin now. */
export async function dropAsked(store: Store, task: string): Promise<void> {
  await keystore.policy(store).updateOne({ _id: 'policy', task }, { $set: { asked: null } })
}

/** After a restore: the workflow of the run, if any, is ended. */
export async function dropRun(store: Store): Promise<void> {
  await keystore.policy(store).updateOne({ _id: 'policy' }, { $set: { run: null, asked: null } })
}

export async function recordWait(store: Store, run: string, what: string | null): Promise<void> {
  await keystore
    .policy(store)
    .updateOne({ _id: 'policy', 'run.id': run }, { $set: { 'run.waits_for': what } })
}

/** Records the run's rotations, the last before it is started. */
export async function recordRunRotations(
  store: Store,
  run: string,
  rotations: PolicyRunDoc['rotations'],
): Promise<void> {
  await keystore
    .policy(store)
    .updateOne(
      { _id: 'policy', 'run.id': run },
      { $set: { 'run.waits_for': null, 'run.rotations': rotations } },
    )
}

export interface RunEnd {
  outcome: RunOutcome
  error: ErrorReport | null
  /** Why the policy is paused from now on; null: it is not. */
  pause: string | null
  /** The node that ends it. */
  worker: string
}

/** Ends a run; false if it has ended. */
export async function endRun(store: Store, row: PolicyRunDoc, end: RunEnd): Promise<boolean> {
  const { outcome, error, pause } = end
  const now = await serverNow(store)
  const ended: PolicyRunDoc = { ...row, waits_for: null, ended_at: now, outcome, error }
  const paused = pause === null ? {} : { paused: { at: now, by: actor, reason: pause } }
  const acted = { claimed: false, worker: end.worker }
  const entry = { actor, subject: 'policy' }
  return await inTransaction(store, async (session) => {
    const { matchedCount } = await keystore.policy(store).updateOne(
      { _id: 'policy', 'run.id': row.id },
      {
        $set: { run: null, ...paused },
        $push: { runs: { $each: [ended], $slice: -keptRuns } },
      },
      { session },
    )
    if (matchedCount === 0) return false
    if (error !== null) {
      const details = { run: row.id, outcome, error: error.code, ...acted }
      await recordAudit(store, { ...entry, action: 'policy-failed', details }, session)
    }
    if (pause !== null) {
      const details = { reason: pause, ...acted }
      await recordAudit(store, { ...entry, action: 'policy-paused', details }, session)
    }
    return true
  })
}

/** Replaces the planned removal of a version, or adds it. */
export async function putPlannedRemoval(store: Store, planned: PlannedRemovalDoc): Promise<void> {
  await dropPlannedRemoval(store, planned.version)
  await keystore.policy(store).updateOne({ _id: 'policy' }, { $push: { removals: planned } })
}

export async function dropPlannedRemoval(store: Store, version: number): Promise<void> {
  await keystore.policy(store).updateOne({ _id: 'policy' }, { $pull: { removals: { version } } })
}
