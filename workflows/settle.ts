import { CancellationScope, condition } from '@temporalio/workflow'
import type { Preflight, SettleRound } from '../contracts/rotation.ts'
import { observeTail, tailBegins } from '../protocol/tail.ts'
import { deciding, surveying } from './profiles.ts'
import { planPass, rewrapShards } from './rewrap-shards.ts'
import { enter, mayGoOn, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** Throws `cancelled` as soon as that is asked for. */
type Look = () => Promise<SettleRound>

/**
 * Settle's first look at the fleet begins at promote and goes on beside the sweep: behind a sweep of a lease or more
 * nothing is left to wait for. What it found stays true, since nobody goes back to a version that was left; so the next
 * run of a long rotation looks again only where no look has found the fleet settled.
 */
export async function watchingFleet(
  state: RotationState,
  work: (look: Look) => Promise<void>,
): Promise<void> {
  const scope = new CancellationScope()
  void condition(() => state.cancelled).then(() => scope.cancel())
  const begin = async () => (state.fleet = await scope.run(() => surveying.watchFleet(state.input)))
  const found = state.fleet?.settled === true ? state.fleet : null
  // One that failed, for MongoDB was away for long, is repeated when its answer is needed: the sweep may have outlasted that.
  let first: Promise<SettleRound> | null = found === null ? begin() : Promise.resolve(found)
  first.catch(() => undefined)
  try {
    await work(async () => {
      const round = first?.catch(begin) ?? begin()
      first = null
      return await round.catch(async (failure: unknown) => {
        if (state.cancelled) await mayGoOn(state)
        throw failure
      })
    })
  } finally {
    scope.cancel()
  }
}

/**
 * Waits until nobody can write under A, then sweeps what came late, until the census of A is zero twice, a heartbeat
 * apart. What an application writes back after that is seen by the census of removal, and refused by its fence.
 */
export async function settle(state: RotationState, facts: Preflight, look: Look): Promise<void> {
  enter(state, 'settle')
  await deciding.recordPhase({ ...state.input, phase: 'settle' })
  await awaitFleet(state, look)
  for (let tail = tailBegins; ;) {
    const { heartbeatMs } = facts
    const remaining = state.plan === null ? await remainingOf(state) : null
    const seen = observeTail(tail, {
      ...{ remaining: remaining ?? 1, observerMs: Date.now(), heartbeatMs },
    })
    if (seen.done) return
    tail = seen
    if (remaining !== 0) await sweepTail(state)
    await condition(() => state.cancelled, heartbeatMs)
    await mayGoOn(state)
  }
}

async function remainingOf({ input }: RotationState): Promise<number> {
  return (await surveying.readRemaining({ task: input.task, version: input.from })).remaining
}

/** One walk over what came late, or the rest of one that the run before has begun. */
async function sweepTail(state: RotationState): Promise<void> {
  state.plan ??= await planPass(state, (state.round += 1))
  await rewrapShards(state, state.plan)
  await mayGoOn(state)
  state.plan = null
}

async function awaitFleet(state: RotationState, look: Look): Promise<void> {
  for (;;) {
    const { awaiting, silent, settled } = await look()
    Object.assign(state, { awaiting, silent })
    show(state)
    await mayGoOn(state)
    if (settled) return
  }
}
