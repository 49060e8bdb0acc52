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
} from '../contracts/rewrap.ts'
import { sweeping } from './profiles.ts'

/** Sent by the rotation: pause, resume, stop, or a new share of the rate. */
export const steer = defineSignal<[Steering]>('steer')

/** Sent to the rotation, which shows that it waits for the HSM. */
export const hsmAvailability = defineSignal<[HsmAvailability]>(messages.hsmAvailability)

/** Pauses between two batches while the HSM is away; each batch also waits for the pool's patience. */
const awayMs = 5_000
const longestAwayMs = 30_000

/** A batch costs some ten events; a run's history stays under 5,000. */
const batchesPerRun = 300

/**
 * Sweeps one range in batches. Each resumes from the range document; the workflow holds no cursor, so its history does not
 * grow with the data.
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

/** Waits longer each time, up to 30 s; new steering ends the wait. */
async function awayPause(run: { steering: Steering }, times: number): Promise<void> {
  const before = run.steering
  await condition(() => run.steering !== before, Math.min(longestAwayMs, awayMs * times))
}

async function signalRotation({ range }: RewrapRangeInput, why: string | null): Promise<void> {
  const { parent } = workflowInfo()
  if (parent === undefined) return
  // Ignore a rotation that has just ended.
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
 * Temporal does not retry a cancelled batch. Any failure after the cancel (the cancel itself, or the timeout of a worker that
 * died before it saw the cancel) is just the end of the batch, unless the failure is final.
 */
function isFinal(failure: unknown): boolean {
  if (!(failure instanceof ActivityFailure)) return true
  return failure.cause instanceof ApplicationFailure && failure.cause.nonRetryable === true
}
