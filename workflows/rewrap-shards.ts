import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common'
import {
  condition,
  getExternalWorkflowHandle,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import type { ChildWorkflowHandle } from '@temporalio/workflow'
import { workflowIds } from '../contracts/names.ts'
import type { ShardPlan, Steering, SweepEnd, SweepPlan } from '../contracts/rotation.ts'
import { isRunFull } from './next-run.ts'
import { deciding, surveying } from './profiles.ts'
import { isEndedFromOutside } from './refusal.ts'
import { rewrapShard, steer } from './rewrap-shard.ts'
import { show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** Shards that are swept at one time: enough to keep a few workers' lanes busy, far below Temporal's limits. */
const shardWindow = { rotation: 12, applications: 2 }

/**
 * Pauses between two looks at the counters, each some eleven events: by half to ten minutes, then by a fiftieth without an
 * end, so that a rotation which is throttled to a year still has fewer than five hundred of them in its one run.
 */
const firstLookMs = 2_000
const oftenMs = 600_000
const lookGrowth = { often: 1.5, seldom: 1.02 }

/** A shard whose workflow somebody has ended is begun again after this pause. */
const againAfterMs = 1_000

/** The shards that are being swept. */
interface Crew {
  readonly plan: SweepPlan
  /** Lanes that still have shards to sweep; they share the rate evenly. */
  lanes: number
  /** Each running child, with the steering that it was last told. */
  told: Map<ChildWorkflowHandle<typeof rewrapShard>, string>
  /** The next shards of the plan, while they are being read. */
  reading: Promise<void> | null
  /** The run's history is long: the shards stop behind their pages in flight, and go on in the next run. */
  leaving: boolean
  done: boolean
}

/** Cuts what is to be swept into shards. Their documents are the plan: it may be longer than a payload. */
export async function planPass(state: RotationState, pass: number): Promise<SweepPlan> {
  const { task, rotation } = state.input
  await surveying.planShards({ task, rotation, pass })
  return { pass, waiting: [], after: null, isRead: false }
}

/**
 * Sweeps the shards of a plan through a window of child workflows, passes on what an operator steers, and shows the
 * figures. Resolves when every shard has ended, or when the pages in flight are written after a cancel, or before the
 * next run, for which the plan then says what is left.
 */
export async function rewrapShards(state: RotationState, plan: SweepPlan): Promise<void> {
  const width = shardWindow[state.input.priority ?? 'rotation']
  while (plan.waiting.length < width && !plan.isRead) await readMore(state, plan)
  const crew: Crew = {
    ...{ plan, told: new Map(), reading: null, leaving: isRunFull(), done: false },
    lanes: Math.min(width, plan.waiting.length),
  }
  const lanes = Array.from({ length: crew.lanes }, async () => {
    for (let shard = await nextShard(state, crew); shard !== null;) {
      await sweepShard(state, crew, shard)
      shard = await nextShard(state, crew)
    }
    crew.lanes -= 1
    state.steered += 1
  })
  const background = [
    steerCrew(state, crew),
    reportCounters(state, crew),
    leaveWhenFull(state, crew),
  ]
  try {
    await Promise.all(lanes)
  } finally {
    crew.done = true
    await Promise.all(background)
  }
}

/** Null: none is left, or none is to be begun in this run. */
async function nextShard(state: RotationState, crew: Crew): Promise<ShardPlan | null> {
  const { plan } = crew
  const mayBegin = () => !state.cancelled && !crew.leaving
  while (mayBegin() && plan.waiting.length === 0 && !plan.isRead) {
    crew.reading ??= readMore(state, plan).finally(() => (crew.reading = null))
    await crew.reading
  }
  return mayBegin() ? (plan.waiting.shift() ?? null) : null
}

async function readMore({ input }: RotationState, plan: SweepPlan): Promise<void> {
  const { task, rotation } = input
  const shards = await deciding.nextShards({ task, rotation, pass: plan.pass, after: plan.after })
  plan.waiting.push(...shards)
  plan.after = shards.at(-1)?.shard ?? plan.after
  plan.isRead = shards.length === 0
}

async function leaveWhenFull(state: RotationState, crew: Crew): Promise<void> {
  await condition(() => crew.done || isRunFull())
  if (crew.done) return
  crew.leaving = true
  state.steered += 1
}

async function sweepShard(state: RotationState, crew: Crew, shard: ShardPlan): Promise<void> {
  while (!state.cancelled && !crew.leaving) {
    const end = await sweepOnce(state, crew, shard)
    if (end === 'end') return
    if (end === 'hsm-budget') await pauseForBudget(state, crew)
    if (end === 'interrupted') await condition(() => state.cancelled || crew.leaving, againAfterMs)
  }
  crew.plan.waiting.unshift(shard)
}

/**
 * One child workflow. `interrupted`: an operator has ended it, or one that is not this run's child has its id, which is
 * told to end. Nothing is lost by that: the shard's document knows how far it came.
 */
async function sweepOnce(
  state: RotationState,
  crew: Crew,
  shard: ShardPlan,
): Promise<SweepEnd | 'interrupted'> {
  const { install, task, rotation, from, to } = state.input
  const steering = steeringOf(state, crew)
  const workflowId = workflowIds.shard(install, shard.field, shard.shard)
  try {
    const child = await startChild(rewrapShard, {
      workflowId,
      args: [{ ...shard, install, task, rotation, steering }],
      staticSummary: `v${from} → v${to}, ${shard.collection}.${shard.field}`,
      typedSearchAttributes: workflowInfo().typedSearchAttributes,
    })
    crew.told.set(child, JSON.stringify(steering))
    state.steered += 1
    state.sweeping = crew.told.size
    const { end } = await child.result().finally(() => {
      crew.told.delete(child)
      state.sweeping = crew.told.size
      state.hsmAway.delete(shard.shard)
    })
    return end
  } catch (failure) {
    if (isEndedFromOutside(failure)) return 'interrupted'
    if (!(failure instanceof WorkflowExecutionAlreadyStartedError)) throw failure
    // One that has ended in this moment cannot be told, and need not be.
    await getExternalWorkflowHandle(workflowId)
      .cancel()
      .catch(() => undefined)
    return 'interrupted'
  }
}

async function pauseForBudget(state: RotationState, crew: Crew): Promise<void> {
  Object.assign(state, { paused: true, pausedBy: 'hsm-budget' })
  state.steered += 1
  show(state)
  await condition(() => !state.paused || state.cancelled || crew.leaving)
}

const steeringOf = (state: RotationState, crew: Crew): Steering => ({
  paused: state.paused,
  cancelled: state.cancelled || crew.leaving,
  rate: state.maxRate === 0 ? 0 : state.maxRate / Math.max(1, crew.lanes),
})

/** Tells each running shard when something changed for it: a pause, a cancel, another share of the rate. */
async function steerCrew(state: RotationState, crew: Crew): Promise<void> {
  for (let seen = -1; ;) {
    await condition(() => crew.done || state.steered !== seen)
    if (crew.done) return
    seen = state.steered
    const steering = steeringOf(state, crew)
    const words = JSON.stringify(steering)
    const behind = [...crew.told].filter(([, told]) => told !== words)
    for (const [child] of behind) crew.told.set(child, words)
    // A shard that ended in this moment cannot be told, and need not be.
    await Promise.allSettled(behind.map(([child]) => child.signal(steer, steering)))
  }
}

async function reportCounters(state: RotationState, crew: Crew): Promise<void> {
  const { task, rotation } = state.input
  for (let pause = firstLookMs; !crew.done; pause = lookAfter(pause)) {
    await condition(() => crew.done, Math.round(pause))
    state.counters = await deciding.readCounters({ task, rotation })
    show(state)
  }
}

/** The pause behind this one, in milliseconds. */
export function lookAfter(pauseMs: number): number {
  return pauseMs * (pauseMs < oftenMs ? lookGrowth.often : lookGrowth.seldom)
}
