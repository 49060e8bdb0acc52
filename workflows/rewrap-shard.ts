import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineSignal,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow'
import { queues } from '../contracts/names.ts'
import type {
  RewrapShardInput,
  RewrapShardResult,
  Steering,
  SweepEnd,
} from '../contracts/rotation.ts'
import { sweeping } from './profiles.ts'

/** Sent by the rotation: pause, go on, stop, or another share of the rate. */
export const steer = defineSignal<[Steering]>('steer')

/** A batch costs some ten events; a run's history stays under 5,000. */
const batchesPerRun = 300

/**
 * Sweeps one shard, batch after batch, each resuming from the shard document. The workflow holds no cursor:
 * the shard document is the truth, so a history never grows with the data.
 */
export async function rewrapShard(input: RewrapShardInput): Promise<RewrapShardResult> {
  const run = { steering: input.steering, batch: null as CancellationScope | null }
  setHandler(steer, (steering) => {
    run.steering = steering
    run.batch?.cancel()
  })
  for (let batch = 0; batch < batchesPerRun && !workflowInfo().continueAsNewSuggested; batch++) {
    await condition(() => !run.steering.paused || run.steering.cancelled)
    if (run.steering.cancelled) return { end: 'aborted' }
    const end = await sweepBatch(input, run)
    if (end === 'end' || end === 'hsm-budget') return { end }
  }
  return await continueAsNew<typeof rewrapShard>({ ...input, steering: run.steering })
}

async function sweepBatch(
  input: RewrapShardInput,
  run: { steering: Steering; batch: CancellationScope | null },
): Promise<SweepEnd> {
  const { rewrapRange } = sweeping(queues.rewrap(input.install), `sweep ${input.shard}`)
  const scope = new CancellationScope()
  run.batch = scope
  try {
    return await scope.run(() => rewrapRange({ ...input, steering: run.steering }))
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
