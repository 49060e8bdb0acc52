import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  getExternalWorkflowHandle,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow'
import { messages, queues } from '../contracts/names.ts'
import type {
  HsmAway,
  HsmAvailability,
  RewrapRangeInput,
  RewrapRangeResult,
  Steering,
  SweepEnd,
} from '../contracts/rotation.ts'
import { sweeping } from './profiles.ts'

/** Sent by the rotation: pause, go on, stop, or another share of the rate. */
export const steer = defineSignal<[Steering]>('steer')

/** Sent to the rotation, so that it shows what it waits for. */
export const hsmAvailability = defineSignal<[HsmAvailability]>(messages.hsmAvailability)

/** Pauses between two batches while the HSM is away; each batch has the pool's own patience before. */
const awayMs = 5_000
const longestAwayMs = 30_000

/** A batch costs some ten events; a run's history stays under 5,000. */
const batchesPerRun = 300

/**
 * Sweeps one range, batch after batch, each resuming from the range document. The workflow holds no cursor:
 * the range document is the truth, so a history never grows with the data.
 */
export async function rewrapRange(input: RewrapRangeInput): Promise<RewrapRangeResult> {
  const run = { steering: input.steering, batch: null as CancellationScope | null }
  setHandler(steer, (steering) => {
    run.steering = steering
    run.batch?.cancel()
  })
  let away = input.trial === true ? 1 : 0
  for (let batch = 0; batch < batchesPerRun && !workflowInfo().continueAsNewSuggested; batch++) {
    await condition(() => !run.steering.paused || run.steering.cancelled)
    if (run.steering.cancelled) return { end: 'aborted' }
    const end = await sweepBatch({ ...input, trial: away > 0 }, run)
    if (typeof end === 'object') {
      if (away === 0) await signalRotation(input, end.why)
      await awayPause(run, ++away)
      continue
    }
    if (away > 0) await signalRotation(input, null)
    away = 0
    if (end === 'end' || end === 'hsm-budget') return { end }
  }
  const { steering } = run
  return await continueAsNew<typeof rewrapRange>({ ...input, steering, trial: away > 0 })
}

/** A cancel ends it, and a pause by an operator takes its place. */
async function awayPause(run: { steering: Steering }, times: number): Promise<void> {
  const before = run.steering
  await condition(() => run.steering !== before, Math.min(longestAwayMs, awayMs * times))
}

async function signalRotation({ range }: RewrapRangeInput, why: string | null): Promise<void> {
  const { parent } = workflowInfo()
  if (parent === undefined) return
  // A rotation that has just ended need not be told.
  await getExternalWorkflowHandle(parent.workflowId)
    .signal(hsmAvailability, { range, why })
    .catch(() => undefined)
}

async function sweepBatch(
  input: RewrapRangeInput,
  run: { steering: Steering; batch: CancellationScope | null },
): Promise<SweepEnd | HsmAway> {
  const { rewrapBatch } = sweeping(queues.rewrap(input.install), `sweep ${input.range}`)
  const scope = new CancellationScope()
  run.batch = scope
  try {
    return await scope.run(() => rewrapBatch({ ...input, steering: run.steering }))
  } catch (failure) {
    if (scope.consideredCancelled && !isFinal(failure)) return 'aborted'
    throw failure
  } finally {
    run.batch = null
  }
}

/**
 * Once a batch was told to stop, Temporal does not repeat it: whatever it ends with then (a cancel, or the time-out of a
 * worker that died before it heard) is the end of the batch, unless no repeat would help.
 */
function isFinal(failure: unknown): boolean {
  if (!(failure instanceof ActivityFailure)) return true
  return failure.cause instanceof ApplicationFailure && failure.cause.nonRetryable === true
}
