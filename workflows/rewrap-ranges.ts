import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common'
import {
  condition,
  getExternalWorkflowHandle,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import type { ChildWorkflowHandle } from '@temporalio/workflow'
import { workflowIds } from '../contracts/names.ts'
import type { RangePlan, Steering, SweepEnd, SweepPlan } from '../contracts/rewrap.ts'
import { isRunFull } from './run-length.ts'
import { deciding, surveying } from './profiles.ts'
import { isEndedFromOutside } from './refusal.ts'
import { rewrapRange, steer } from './rewrap-range.ts'
import { addPause, isPaused, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** How many ranges are swept at a time: enough to keep a few workers busy, far below Temporal's limits. */
const rangeWindow = { rotation: 12, applications: 2 }

/**
 * Pauses between two reads of the counters. A read costs some eleven events. The pause grows by half each time up to ten
 * minutes, then by a fiftieth without limit, so that a rotation throttled to a year reads them fewer than 500 times in one run.
 */
const firstPollMs = 2_000
const oftenMs = 600_000
const pollGrowth = { often: 1.5, seldom: 1.02 }

/** A range whose workflow was ended from outside is started again after this pause. */
const againAfterMs = 1_000

/** The window: the ranges that are being swept. */
interface SlotWindow {
  readonly plan: SweepPlan
  /** Slots that still have ranges to sweep; they share the rate evenly. */
  slots: number
  /** Each running child with the steering (JSON) that was last sent to it. */
  sent: Map<ChildWorkflowHandle<typeof rewrapRange>, string>
  /** The current read of further ranges of the plan. */
  reading: Promise<void> | null
  /** The run's history is long: ranges stop after their pages in flight and continue in the next run. */
  stopping: boolean
  done: boolean
}

/** Cuts the envelopes to sweep into ranges. The plan is in their documents: it may be larger than a payload. */
export async function planPass(state: RotationState, pass: number): Promise<SweepPlan> {
  const { task, rotation } = state.input
  await surveying.planRanges({ task, rotation, pass })
  return { pass, waiting: [], after: null, isRead: false }
}

/**
 * Sweeps the ranges of a plan in a window of child workflows, passes on steering by operators, and shows the counters.
 * Resolves when every range has ended, or after a cancel when the pages in flight are written, or before the next run: then
 * the plan holds what is left.
 */
export async function rewrapRanges(state: RotationState, plan: SweepPlan): Promise<void> {
  const width = rangeWindow[state.input.priority ?? 'rotation']
  while (plan.waiting.length < width && !plan.isRead) await readMore(state, plan)
  const window: SlotWindow = {
    plan,
    sent: new Map(),
    reading: null,
    stopping: isRunFull(),
    done: false,
    slots: Math.min(width, plan.waiting.length),
  }
  const slots = Array.from({ length: window.slots }, async () => {
    for (let range = await nextRange(state, window); range !== null;) {
      await sweepRange(state, window, range)
      range = await nextRange(state, window)
    }
    window.slots -= 1
    state.steered += 1
  })
  const background = [
    steerWindow(state, window),
    reportCounters(state, window),
    stopWhenFull(state, window),
  ]
  try {
    await Promise.all(slots)
  } finally {
    window.done = true
    await Promise.all(background)
  }
}

/** Null when no range is left, or none may start in this run. */
async function nextRange(state: RotationState, window: SlotWindow): Promise<RangePlan | null> {
  const { plan } = window
  const mayBegin = () => !state.cancelled && !window.stopping
  while (mayBegin() && plan.waiting.length === 0 && !plan.isRead) {
    window.reading ??= readMore(state, plan).finally(() => (window.reading = null))
    await window.reading
  }
  return mayBegin() ? (plan.waiting.shift() ?? null) : null
}

async function readMore({ input }: RotationState, plan: SweepPlan): Promise<void> {
  const { task, rotation } = input
  const ranges = await deciding.nextRanges({ task, rotation, pass: plan.pass, after: plan.after })
  plan.waiting.push(...ranges)
  plan.after = ranges.at(-1)?.range ?? plan.after
  plan.isRead = ranges.length === 0
}

async function stopWhenFull(state: RotationState, window: SlotWindow): Promise<void> {
  await condition(() => window.done || isRunFull())
  if (window.done) return
  window.stopping = true
  state.steered += 1
}

async function sweepRange(
  state: RotationState,
  window: SlotWindow,
  range: RangePlan,
): Promise<void> {
  while (!state.cancelled && !window.stopping) {
    const end = await sweepOnce(state, window, range)
    if (end === 'end') return
    if (end === 'hsm-budget') await pauseForBudget(state, window)
    if (end === 'interrupted')
      await condition(() => state.cancelled || window.stopping, againAfterMs)
  }
  window.plan.waiting.unshift(range)
}

/**
 * Runs one child workflow. `interrupted`: it was ended from outside, or another workflow has its id, which is cancelled.
 * Nothing is lost: the range's document holds its progress.
 */
async function sweepOnce(
  state: RotationState,
  window: SlotWindow,
  range: RangePlan,
): Promise<SweepEnd | 'interrupted'> {
  const { install, task, rotation, from, to } = state.input
  const steering = steeringOf(state, window)
  const workflowId = workflowIds.range(install, range.field, range.range)
  try {
    const child = await startChild(rewrapRange, {
      workflowId,
      args: [{ ...range, install, task, rotation, steering }],
      staticSummary: `v${from} → v${to}, ${range.collection}.${range.field}`,
      typedSearchAttributes: workflowInfo().typedSearchAttributes,
    })
    window.sent.set(child, JSON.stringify(steering))
    state.steered += 1
    state.sweeping = window.sent.size
    const { end } = await child.result().finally(() => {
      window.sent.delete(child)
      state.sweeping = window.sent.size
      state.hsmAway.delete(range.range)
    })
    return end
  } catch (failure) {
    if (isEndedFromOutside(failure)) return 'interrupted'
    if (!(failure instanceof WorkflowExecutionAlreadyStartedError)) throw failure
    // Ignore a workflow that has just ended.
    await getExternalWorkflowHandle(workflowId)
      .cancel()
      .catch(() => undefined)
    return 'interrupted'
  }
}

async function pauseForBudget(state: RotationState, window: SlotWindow): Promise<void> {
  addPause(state, 'hsm-budget')
  state.steered += 1
  show(state)
  await condition(() => !isPaused(state) || state.cancelled || window.stopping)
}

const steeringOf = (state: RotationState, window: SlotWindow): Steering => ({
  paused: isPaused(state),
  cancelled: state.cancelled || window.stopping,
  rate: state.maxRate === 0 ? 0 : state.maxRate / Math.max(1, window.slots),
})

/** Sends new steering to each running range: a pause, a cancel, another share of the rate. */
async function steerWindow(state: RotationState, window: SlotWindow): Promise<void> {
  for (let seen = -1; ;) {
    await condition(() => window.done || state.steered !== seen)
    if (window.done) return
    seen = state.steered
    const steering = steeringOf(state, window)
    const json = JSON.stringify(steering)
    const outdated = [...window.sent].filter(([, sent]) => sent !== json)
    for (const [child] of outdated) window.sent.set(child, json)
    // Ignore a range that has just ended.
    await Promise.allSettled(outdated.map(([child]) => child.signal(steer, steering)))
  }
}

async function reportCounters(state: RotationState, window: SlotWindow): Promise<void> {
  const { task, rotation } = state.input
  for (let pause = firstPollMs; !window.done; pause = nextPollMs(pause)) {
    await condition(() => window.done, Math.round(pause))
    state.counters = await deciding.readCounters({ task, rotation })
    show(state)
  }
}

/** The pause after this one, in milliseconds. */
export function nextPollMs(pauseMs: number): number {
  return pauseMs * (pauseMs < oftenMs ? pollGrowth.often : pollGrowth.seldom)
}
