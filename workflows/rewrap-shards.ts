import { condition, startChild, workflowInfo } from '@temporalio/workflow'
import type { ChildWorkflowHandle } from '@temporalio/workflow'
import { workflowIds } from '../contracts/names.ts'
import type { ShardPlan, Steering } from '../contracts/rotation.ts'
import { deciding } from './profiles.ts'
import { rewrapShard, steer } from './rewrap-shard.ts'
import { show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** Shards that are swept at one time: enough to keep a few workers' lanes busy, far below Temporal's limits. */
const shardWindow = { rotation: 12, applications: 2 }

/** First and longest pause between two looks at the counters; it grows so that a long rotation's history does not. */
const firstLookMs = 2_000
const longestLookMs = 600_000

/** The shards that are being swept. */
interface Crew {
  /** Lanes that still have shards to sweep; they share the rate evenly. */
  lanes: number
  /** Each running child, with the steering that it was last told. */
  told: Map<ChildWorkflowHandle<typeof rewrapShard>, string>
  done: boolean
}

/**
 * Sweeps all shards through a window of child workflows, passes on what an operator steers, and shows the figures.
 * Resolves when every shard has ended, or after a cancel when the pages in flight are written.
 */
export async function rewrapShards(
  state: RotationState,
  shards: readonly ShardPlan[],
  tail: boolean,
): Promise<void> {
  const queue = [...shards]
  const { priority = 'rotation' } = state.input
  const width = Math.min(shardWindow[priority], queue.length)
  const crew: Crew = { lanes: width, told: new Map(), done: false }
  const lanes = Array.from({ length: crew.lanes }, async () => {
    for (let shard = queue.shift(); shard !== undefined; shard = queue.shift()) {
      await sweepShard(state, crew, shard, tail)
    }
    crew.lanes -= 1
    state.steered += 1
  })
  const background = [steerCrew(state, crew), reportCounters(state, crew)]
  try {
    await Promise.all(lanes)
  } finally {
    crew.done = true
    await Promise.all(background)
  }
}

async function sweepShard(
  state: RotationState,
  crew: Crew,
  shard: ShardPlan,
  tail: boolean,
): Promise<void> {
  const { install, rotation, from, to, page, check, maxHsmCalls, priority } = state.input
  const paging = { page, check, maxHsmCalls, ...(priority === undefined ? {} : { priority }) }
  while (!state.cancelled) {
    const steering = steeringOf(state, crew)
    const child = await startChild(rewrapShard, {
      workflowId: workflowIds.shard(install, shard.field, shard.shard),
      args: [{ ...shard, install, rotation, from, to, ...paging, tail, steering }],
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
    if (end !== 'hsm-budget') return
    Object.assign(state, { paused: true, pausedBy: 'hsm-budget' })
    state.steered += 1
    show(state)
    await condition(() => !state.paused || state.cancelled)
  }
}

const steeringOf = (state: RotationState, crew: Crew): Steering => ({
  paused: state.paused,
  cancelled: state.cancelled,
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
  const { rotation } = state.input
  for (let pause = firstLookMs; !crew.done; pause = Math.min(pause * 1.5, longestLookMs)) {
    await condition(() => crew.done, pause)
    state.counters = await deciding.readCounters({ rotation })
    show(state)
  }
}
