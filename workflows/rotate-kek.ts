import { allHandlersFinished, CancellationScope, condition } from '@temporalio/workflow'
import { KeyturnError } from '../contracts/errors.ts'
import type { Preflight, RotateInput, RotateResult, SettleRound } from '../contracts/rotation.ts'
import { observeTail, tailBegins } from '../protocol/tail.ts'
import { deciding, surveying } from './profiles.ts'
import { proveFleet } from './prove-fleet.ts'
import { reportOf } from './refusal.ts'
import { rewrapShards } from './rewrap-shards.ts'
import { answerMessages, enter, mayGoOn, newRotationState, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/**
 * Rotation A → B: preflight, verify, promote, rewrap, settle, finish (`2-protocol.md`). It never fails: a refusal, a
 * fault and a cancel are outcomes, and each of them ends in `finish`, which takes the marks off and closes the shards.
 */
export async function rotateKek(input: RotateInput): Promise<RotateResult> {
  const state = newRotationState(input)
  answerMessages(state)
  cancelOnRequest(state)
  return await CancellationScope.nonCancellable(async () => {
    let failure: unknown = null
    try {
      const facts = await preflight(state)
      const verified = await verify(state)
      await promote(state, facts, verified)
      await watchingFleet(state, async (look) => {
        await rewrap(state)
        await settle(state, facts, look)
      })
    } catch (error) {
      failure = error
    }
    const result = await finish(state, failure)
    await condition(allHandlersFinished)
    return result
  })
}

/** The button "Request cancellation" of the Temporal UI does what `keyturn cancel` does. */
function cancelOnRequest(state: RotationState): void {
  CancellationScope.current().cancelRequested.catch(() => {
    state.cancelled = true
    state.steered += 1
  })
}

async function preflight(state: RotationState): Promise<Preflight> {
  enter(state, 'preflight')
  const facts = await surveying.preflight(state.input)
  state.total = facts.total
  show(state)
  await mayGoOn(state)
  return facts
}

/** Answers whom it met. */
async function verify(state: RotationState): Promise<string[]> {
  enter(state, 'verify')
  await deciding.recordPhase({ rotation: state.input.rotation, phase: 'verify' })
  const verified = await requireReadiness(state)
  await mayGoOn(state)
  return verified
}

async function requireReadiness(state: RotationState): Promise<string[]> {
  const { report, met } = await proveFleet(state.input.install, state.input.to)
  const lacking = report.nodes.filter((node) => !node.ready)
  if (report.ready) return met
  const names = lacking.map((node) => `${node.node} (${node.reason ?? 'unknown'})`).join(', ')
  const configDiffers = lacking.some((node) => node.reason === 'config-differs')
  throw new KeyturnError(
    configDiffers ? 'config-differs' : 'not-ready',
    `version ${state.input.to} is not usable on ${names}`,
    { hint: `keyturn verify --target ${state.input.to} names each process and its cure` },
  )
}

/** Switches `kek_active` by compare-and-set on the epoch that preflight saw. */
async function promote(state: RotationState, facts: Preflight, verified: string[]): Promise<void> {
  if (!facts.promote) return
  enter(state, 'promote')
  const { rotation, from, to } = state.input
  const switched = async (met: string[]) =>
    deciding.promote({ rotation, from, to, epoch: facts.epoch, verified: met })
  let answer = await switched(verified)
  // Who came up since verify is asked before the switch; who comes up during it reads the new version by itself.
  for (let asked = 0; !answer.promoted; asked++) {
    if (asked === 3) {
      throw new KeyturnError('not-ready', answer.reason, {
        hint: 'processes keep appearing: wait until the roll-out has ended',
      })
    }
    const met = await requireReadiness(state)
    await mayGoOn(state)
    answer = await switched(met)
  }
}

async function rewrap(state: RotationState): Promise<void> {
  await mayGoOn(state)
  enter(state, 'rewrap')
  const { rotation } = state.input
  await deciding.recordPhase({ rotation, phase: 'rewrap' })
  const shards = await surveying.planShards({ ...state.input, tail: 0 })
  await rewrapShards(state, shards, false)
  await mayGoOn(state)
}

/** One round of looking at the fleet; throws `cancelled` as soon as that is asked for. */
type Look = () => Promise<SettleRound>

/**
 * Settle's first look at the fleet begins at promote and goes on beside the sweep: behind a sweep of a lease or more
 * nothing is left to wait for. What it found stays true, since nobody goes back to a version that was left.
 */
async function watchingFleet(
  state: RotationState,
  work: (look: Look) => Promise<void>,
): Promise<void> {
  const scope = new CancellationScope()
  void condition(() => state.cancelled).then(() => scope.cancel())
  const begin = () => scope.run(() => surveying.watchFleet(state.input))
  // One that failed, for MongoDB was away for long, is repeated when its answer is needed: the sweep may have outlasted that.
  let first: Promise<SettleRound> | null = begin()
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
async function settle(state: RotationState, facts: Preflight, look: Look): Promise<void> {
  enter(state, 'settle')
  const { rotation, from } = state.input
  await deciding.recordPhase({ rotation, phase: 'settle' })
  await awaitFleet(state, look)
  for (let tail = tailBegins, round = 1; ; round++) {
    const { remaining } = await surveying.readRemaining({ version: from })
    const { heartbeatMs } = facts
    const seen = observeTail(tail, { remaining, observerMs: Date.now(), heartbeatMs })
    if (seen.done) return
    tail = seen
    if (remaining > 0) {
      await rewrapShards(state, await surveying.planShards({ ...state.input, tail: round }), true)
    }
    await condition(() => state.cancelled, facts.heartbeatMs)
    await mayGoOn(state)
  }
}

async function awaitFleet(state: RotationState, look: Look): Promise<void> {
  for (;;) {
    const round = await look()
    Object.assign(state, { awaiting: round.awaiting, silent: round.silent })
    show(state)
    await mayGoOn(state)
    if (round.settled) return
  }
}

async function finish(state: RotationState, failure: unknown): Promise<RotateResult> {
  enter(state, 'finish')
  state.awaiting = []
  const error = failure === null ? null : reportOf(failure)
  const result = await surveying.finishRotation({
    ...state.input,
    settled: failure === null,
    silent: state.silent,
    error,
  })
  state.counters = result
  show(state)
  return result
}
