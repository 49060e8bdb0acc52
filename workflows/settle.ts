import { CancellationScope, condition } from '@temporalio/workflow'
import type { FinishAnswer } from '../activities/finish-rotation.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Preflight, RotateResult, SettleRound } from '../contracts/rotation.ts'
import { observeWalk } from '../protocol/tail.ts'
import { deciding, surveying } from './profiles.ts'
import { planPass, rewrapRanges } from './rewrap-ranges.ts'
import { enter, mayGoOn, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** Waits for one round of settle; throws `cancelled` at once after a cancel. */
type AwaitSettled = () => Promise<SettleRound>

/**
 * Settle's first round of watching the fleet starts at promote and runs during the sweep, so after a sweep of a lease or
 * more there is nothing left to wait for. Its result stays valid, since no process returns to a version that it left; so
 * the next run of a long rotation watches again only if no round has found the fleet settled.
 */
export async function watchingFleet<T>(
  state: RotationState,
  work: (look: AwaitSettled) => Promise<T>,
): Promise<T> {
  const { task, rotation } = state.input
  const scope = new CancellationScope()
  void condition(() => state.cancelled).then(() => scope.cancel())
  const begin = async () =>
    (state.fleet = await scope.run(() => surveying.watchFleet({ task, rotation })))
  const found = state.fleet?.settled === true ? state.fleet : null
  // A failed first round (MongoDB was unreachable for long) is retried when settle needs it.
  let first: Promise<SettleRound> | null = found === null ? begin() : Promise.resolve(found)
  first.catch(() => undefined)
  try {
    return await work(async () => {
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
 * Waits until no process can write under A, then sweeps late envelopes until finish counts zero envelopes under A twice, a
 * heartbeat apart. Old envelopes that an application writes back later are found by removal's census and refused by its fence.
 */
export async function settle(
  state: RotationState,
  facts: Preflight,
  look: AwaitSettled,
): Promise<RotateResult> {
  enter(state, 'settle')
  await deciding.recordPhase({ ...state.input, phase: 'settle' })
  await awaitFleet(state, look)
  for (;;) {
    // First finish a walk that the previous run started.
    let remaining = state.plan === null ? await remainingOf(state) : null
    if (remaining === 0) {
      const answer = await finish(state)
      if (answer.state === 'ended') return answer.result
      if (answer.state === 'fleet') await awaitFleet(state, look)
      // Walk even if the envelopes that finish counted are gone by then, so that each round counts as a walk.
      if (answer.state === 'tail') remaining = answer.remaining
    }
    if (remaining !== 0) {
      await sweepTail(state)
      if (remaining !== null) requireProgress(state, remaining)
      await condition(() => state.cancelled, facts.heartbeatMs)
    }
    await mayGoOn(state)
  }
}

/** Finish counts for a heartbeat or more; a cancel does not wait for it. */
async function finish(state: RotationState): Promise<FinishAnswer> {
  const { task, rotation } = state.input
  const scope = new CancellationScope()
  let isDone = false
  void condition(() => state.cancelled || isDone).then(() => scope.cancel())
  try {
    return await scope.run(() => surveying.finishRotation({ task, rotation, error: null }))
  } catch (failure) {
    if (state.cancelled) await mayGoOn(state)
    throw failure
  } finally {
    isDone = true
  }
}

/** Throws `rotation-failed` when repeated walks find none of the counted envelopes, or leave as many as before. */
function requireProgress(state: RotationState, remaining: number): void {
  const { rewrapped, superseded, quarantined } = state.counters
  const seen = { dealt: rewrapped + superseded + quarantined, remaining }
  const { stuck, ...walk } = observeWalk(state.walk, seen)
  state.walk = walk
  if (stuck === null) return
  const under = `${remaining} envelopes under v${state.input.from}`
  if (stuck === 'idle') {
    throw new KeyturnError(
      'rotation-failed',
      `${under} remain, and ${walk.idle} walks have met none of them`,
      { hint: 'keyturn doctor looks at the indexes and the collections; then rotate again' },
    )
  }
  throw new KeyturnError(
    'rotation-failed',
    `${under} were there again after ${walk.vain} walks: an application writes old ones back`,
    { hint: 'find who writes envelopes that it read long ago, stop it, then rotate again' },
  )
}

async function remainingOf({ input }: RotationState): Promise<number> {
  return (await surveying.readRemaining({ task: input.task, version: input.from })).remaining
}

/** One walk over late envelopes, or the rest of a walk that the previous run started. */
async function sweepTail(state: RotationState): Promise<void> {
  state.plan ??= await planPass(state, (state.round += 1))
  await rewrapRanges(state, state.plan)
  await mayGoOn(state)
  state.plan = null
}

async function awaitFleet(state: RotationState, look: AwaitSettled): Promise<void> {
  for (;;) {
    const { awaiting, silent, settled } = await look()
    Object.assign(state, { awaiting, silent })
    show(state)
    await mayGoOn(state)
    if (settled) return
  }
}
