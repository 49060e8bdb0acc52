import { ApplicationFailure } from '@temporalio/common'
import { readFleet } from '../../../activities/fleet.ts'
import { collections } from '../../../contracts/names.ts'
import type { Preflight, RotateInput } from '../../../contracts/rotation.ts'
import { nothingObserved, observe, settleVerdict } from '../../../protocol/settle.ts'
import type { SettleState } from '../../../protocol/settle.ts'
import { observeTail, tailBegins, type TailState } from '../../../protocol/tail.ts'
import { readActive } from '../../../store/kek-active.ts'
import { readRotation } from '../../../store/rotations.ts'
import { recordFleetLeft } from '../../../store/rotation-progress.ts'
import type { Store } from '../../../store/store.ts'
import { sweepPage } from './frozen-sweep.ts'
import { act, newId, readKeks, timings, type World } from './world.ts'

/** The steps of workflows/rotate-kek.ts, one at a time; each runs the product's own code. */
export interface RunningRotation {
  readonly input: RotateInput
  step: 'preflight' | 'verify' | 'promote' | 'plan' | 'sweep' | 'settle' | 'tail'
  facts: Preflight | null
  /** The nonce of its question; null before verify has asked. */
  nonce: string | null
  /** Number of the pass of the tail; 0 is the sweep. */
  tail: number
  observed: SettleState
  watchBeganMs: number
  /** Whether the fleet has settled. */
  settled: boolean
  zeros: TailState
}

/** Begins a rotation to one of the other versions, in turn; null when there is none left. */
async function newRotation(world: World): Promise<RunningRotation | null> {
  const { active, others } = await readKeks(world.store)
  const to = others[world.rotations % Math.max(1, others.length)]
  return to === undefined ? null : rotationBetween(world, active, to)
}

/** A rotation to the active version: it finishes one that was cancelled or terminated. */
export async function startFinishing(world: World): Promise<void> {
  if (world.rotation !== null) return
  const { active, others } = await readKeks(world.store)
  const [from] = others
  if (from !== undefined) world.rotation = rotationBetween(world, from, active)
}

function rotationBetween(
  { identity: install, task }: World,
  from: number,
  to: number,
): RunningRotation {
  const limits = { maxRate: 0, maxHsmCalls: 0, page: 2, shards: 1, check: 'all' } as const
  return {
    input: {
      install,
      task,
      rotation: newId(),
      from,
      to,
      requestedBy: 'model',
      reason: '',
      ...limits,
    },
    step: 'preflight',
    facts: null,
    nonce: null,
    tail: 0,
    watchBeganMs: 0,
    settled: false,
    observed: nothingObserved,
    zeros: tailBegins,
  }
}

/** Takes the rotation's next step, or the first step of a new one if none runs; a refusal ends it. Returns the outcome. */
export async function goOn(world: World): Promise<string> {
  world.rotation ??= await newRotation(world)
  const { rotation } = world
  if (rotation === null) return 'no version to rotate to'
  try {
    return await steps[rotation.step](world, rotation)
  } catch (error) {
    if (!(error instanceof ApplicationFailure)) throw error
    const code = error.type ?? 'internal'
    if (code === 'internal') throw error
    await end(world, rotation, { code: code as 'cancelled', message: error.message })
    return `refused: ${code}`
  }
}

type Take = (world: World, rotation: RunningRotation) => Promise<string>

const steps: Record<RunningRotation['step'], Take> = {
  async preflight(world, rotation) {
    const { control } = world
    world.rotations += 1
    rotation.facts = await act(() => control.preflight(rotation.input), rotation.input.install)
    rotation.step = 'verify'
    return 'preflight'
  },

  /** Asks first, and checks the answers in later steps. */
  async verify({ control }, rotation) {
    const { task, to: target, rotation: id, install } = rotation.input
    if (rotation.nonce === null) {
      const nonce = newId()
      rotation.nonce = nonce
      await act(() => control.askFleet({ task, nonce, target, rotation: id }), install)
      return 'verify asks'
    }
    const { nonce } = rotation
    const question = { task, nonce, target, answers: [], waitMs: 0 }
    const { report, met } = await act(() => control.awaitAnswers(question))
    if (report?.ready !== true) return 'verify waits'
    await act(() => control.recordMet({ task, rotation: id, nonce, met }), install)
    rotation.step = rotation.facts?.promote === true ? 'promote' : 'plan'
    return 'verify is ready'
  },

  async promote({ control, left }, rotation) {
    const { task, rotation: id, to, install } = rotation.input
    const { promoted } = await act(() => control.promote({ task, rotation: id }), install)
    Object.assign(rotation, promoted ? { step: 'plan' } : { step: 'verify', nonce: null })
    if (promoted) left.delete(to)
    return promoted ? 'promoted' : 'promote asks again'
  },

  async plan(world, rotation) {
    const { control } = world
    const { install } = rotation.input
    await act(() => control.recordPhase({ ...rotation.input, phase: 'rewrap' }), install)
    await act(() => control.planRanges({ ...rotation.input, pass: 0 }))
    Object.assign(rotation, { step: 'sweep', watchBeganMs: world.passedMs })
    return 'planned'
  },

  async sweep(world, rotation) {
    await look(world, rotation)
    const said = await sweepPage(world, rotation)
    if (said !== null) return `a page: ${said}`
    rotation.step = rotation.settled ? 'tail' : 'settle'
    return 'swept'
  },

  async settle(world, rotation) {
    await look(world, rotation)
    if (rotation.settled) rotation.step = 'tail'
    return rotation.settled ? 'settled' : 'settle waits'
  },

  async tail(world, rotation) {
    const { control, passedMs } = world
    const { task, from: version } = rotation.input
    const { remaining } = await act(() => control.readRemaining({ task, version }))
    const { heartbeatMs } = timings
    const seen = observeTail(rotation.zeros, { remaining, observerMs: passedMs, heartbeatMs })
    rotation.zeros = seen
    if (seen.done) return await end(world, rotation, null)
    if (remaining === 0) return 'the tail is empty once'
    rotation.tail += 1
    await act(() => control.planRanges({ ...rotation.input, pass: rotation.tail }))
    rotation.step = 'sweep'
    return 'a tail is swept'
  },
}

/** `keyturn cancel`. */
export async function cancel(world: World): Promise<void> {
  if (world.rotation === null) return
  await end(world, world.rotation, { code: 'cancelled', message: 'cancelled' })
}

/** Ends the rotation; returns the outcome. */
async function end(
  world: World,
  running: RunningRotation,
  error: { code: 'cancelled'; message: string } | null,
): Promise<string> {
  const { control, store } = world
  const { task, rotation, install } = running.input
  const answer = await aMomentLong(store, () =>
    act(() => control.finishRotation({ task, rotation, error }), install),
  )
  if (answer.state === 'fleet') {
    const again = { settled: false, observed: nothingObserved, watchBeganMs: world.passedMs }
    Object.assign(running, { step: 'settle', ...again })
    return 'finish sends it back to settle'
  }
  if (answer.state === 'tail') {
    throw new Error(`finish counted ${answer.remaining} where nobody had written`)
  }
  world.rotation = null
  if (answer.state === 'unknown' || error !== null) return 'ended'
  const { outcome, remaining } = answer.result
  if (outcome !== 'completed' || remaining > 0) {
    throw new Error(`a rotation ended as ${outcome} with ${remaining} remaining`)
  }
  return 'finished'
}

/** Finish counts twice, one heartbeat apart; time does not pass by itself in the model, so the heartbeat is short here. */
async function aMomentLong<T>(store: Store, step: () => Promise<T>): Promise<T> {
  const settings = store.db.collection(collections.settings)
  await settings.updateOne({}, { $set: { 'settings.fleet.heartbeatMs': 1 } })
  return await step().finally(() =>
    settings.updateOne({}, { $set: { 'settings.fleet.heartbeatMs': timings.heartbeatMs } }),
  )
}

/** Checks the fleet once; `watchFleet` does so repeatedly from promote on, until the fleet has settled. */
async function look(world: World, rotation: RunningRotation): Promise<void> {
  if (rotation.settled) return
  const { deps, store, passedMs } = world
  const { heartbeats } = await readFleet(deps)
  // Times are moved back by the time that has passed, so that a document that was not written is unchanged.
  const prints = heartbeats.map((one) => {
    return { ...one, at: new Date(Date.parse(one.at) + passedMs).toISOString() }
  })
  rotation.observed = observe(rotation.observed, prints, passedMs)
  const row = await readRotation(store, rotation.input.rotation)
  const epoch = row?.epoch ?? (await readActive(store))?.epoch ?? 0
  const { leaseMs } = timings
  const question = { epoch, promotedMs: rotation.watchBeganMs, leaseMs }
  const verdict = settleVerdict(rotation.observed, question)
  rotation.settled = verdict.done
  if (verdict.done && row !== null) {
    await recordFleetLeft(store, row, { epoch, silent: verdict.silent })
  }
  const { from } = rotation.input
  if (rotation.settled && (await readActive(store))?.version !== from) world.left.add(from)
}
