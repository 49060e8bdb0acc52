import {
  condition,
  defineQuery,
  defineSignal,
  defineUpdate,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow'
import { defineSearchAttributeKey } from '@temporalio/common'
import { KeyturnError } from '../contracts/errors.ts'
import { messages, searchAttributes } from '../contracts/names.ts'
import { noCounters, pauseOf } from '../contracts/rotation.ts'
import type {
  CarriedRotation,
  PauseCause,
  Resumed,
  RotateInput,
  RotationPhase,
  RotationProgress,
  SetRate,
} from '../contracts/rotation.ts'
import { walksBegin } from '../protocol/tail.ts'
import { refuse } from './refusal.ts'
import { hsmAvailability } from './rewrap-range.ts'
import { isRunFull, RunIsFull } from './run-length.ts'

export const pause = defineUpdate(messages.pause)
export const resume = defineUpdate<Resumed>(messages.resume)
export const resumeNow = defineUpdate<Resumed>(messages.resumeNow)
export const cancel = defineUpdate(messages.cancel)
export const setRate = defineUpdate<SetRate['answer'], SetRate['args']>(messages.setRate)
/** Changes nothing: its delivery shows that the rotation's workflow runs. */
export const ping = defineSignal(messages.ping)
export const progress = defineQuery<RotationProgress>(messages.progress)

const phaseAttribute = defineSearchAttributeKey(searchAttributes.phase, 'KEYWORD')

/** The state of a running rotation, which queries read and updates change. The inherited part is carried into the next run. */
export interface RotationState extends CarriedRotation {
  readonly input: RotateInput
  /** Ranges that wait for their worker's HSM, with its error; since when; and how many ranges are being swept. */
  hsmAway: Map<string, string>
  hsmAwaySince: string
  sweeping: number
  /** Incremented with each change that is sent to running ranges. */
  steered: number
}

export function newRotationState(
  input: RotateInput,
  carried: CarriedRotation | null,
): RotationState {
  const own = { hsmAway: new Map<string, string>(), hsmAwaySince: '', sweeping: 0, steered: 0 }
  return { input, ...(carried ?? begun(input)), ...own }
}

function begun({ maxRate }: RotateInput): CarriedRotation {
  return {
    phase: 'preflight',
    pauses: [],
    opensAt: null,
    isOutside: false,
    shown: pauseOf([]),
    cancelled: false,
    maxRate,
    total: 0,
    counters: noCounters,
    startedAt: workflowInfo().startTime.toISOString(),
    facts: null,
    asked: 0,
    plan: null,
    round: 0,
    walk: walksBegin,
    fleet: null,
    awaiting: [],
    silent: [],
  }
}

/** Registers the query and the updates. Must run before the first await, since updates are handled before the body. */
export function answerMessages(state: RotationState): void {
  setHandler(progress, () => progressOf(state))
  setHandler(ping, () => undefined)
  const change = (apply: () => void) => {
    apply()
    state.steered += 1
    show(state)
  }
  const validator = () => {
    if (state.cancelled || state.phase === 'finish') {
      refuse({ code: 'no-rotation', message: `rotation "${state.input.rotation}" is ending` })
    }
  }
  setHandler(hsmAvailability, ({ range, why }) => {
    if (state.hsmAway.size === 0) state.hsmAwaySince = new Date().toISOString()
    if (why === null) state.hsmAway.delete(range)
    else state.hsmAway.set(range, why)
    show(state)
  })
  setHandler(pause, () => change(() => addPause(state, 'operator')), { validator })
  const resumed = (now: boolean): Resumed => {
    const before = causesOf(state)
    change(() => takeOff(state, now))
    const left = causesOf(state)
    const { opensAt } = state
    return { taken: before.filter((cause) => !left.includes(cause)), left, opensAt }
  }
  setHandler(resume, () => resumed(false), { validator })
  setHandler(resumeNow, () => resumed(true), { validator })
  setHandler(cancel, () => change(() => (state.cancelled = true)), { validator })
  setHandler(
    setRate,
    (rate) => {
      change(() => (state.maxRate = rate))
      return rate
    },
    {
      validator: (rate) => {
        validator()
        if (!Number.isFinite(rate) || rate < 0)
          refuse({ code: 'usage', message: `rate "${rate}" is not a number of envelopes a second` })
      },
    },
  )
}

export function enter(state: RotationState, phase: RotationPhase): void {
  state.phase = phase
  upsertSearchAttributes([{ key: phaseAttribute, value: phase }])
  show(state)
}

/** Waits while paused. Throws `cancelled` after a cancel, and RunIsFull when the history is long. */
export async function mayGoOn(state: RotationState): Promise<void> {
  await condition(() => !isPaused(state) || state.cancelled || isRunFull())
  if (state.cancelled)
    throw new KeyturnError('cancelled', `rotation "${state.input.rotation}" was cancelled`)
  if (isRunFull()) throw new RunIsFull()
}

/**
 * Live Markdown for the Temporal UI ("User Metadata" tab): headings, lists and bold only. The pause is in the memo too, which
 * Temporal shows even when no worker answers queries.
 */
export function show(state: RotationState): void {
  const { input, counters } = state
  const now = pauseOf(causesOf(state))
  if (now.pauses.join() !== state.shown.pauses.join()) {
    state.shown = now
    upsertMemo({ ...now })
  }
  const remaining = Math.max(
    0,
    state.total - counters.rewrapped - counters.superseded - counters.quarantined,
  )
  const lines = [
    `### Rotation v${input.from} → v${input.to}: ${state.cancelled ? 'cancelling' : state.phase}`,
    ...(now.paused ? [`**paused** (${now.pauses.join(', ')})`] : []),
    `- ${counters.rewrapped} of ${state.total} envelopes re-wrapped, ${remaining} to go`,
    `- ${counters.superseded} superseded by applications, ${counters.quarantined} in quarantine`,
    ...awaited(state).map((line) => `- waits for ${line}`),
  ]
  setCurrentDetails(lines.join('\n'))
}

/** Whether ranges must wait. One that waits for its HSM does so by itself. */
export function isPaused({ pauses }: RotationState): boolean {
  return pauses.length > 0
}

export function addPause(state: RotationState, cause: PauseCause): void {
  if (!state.pauses.includes(cause)) state.pauses.push(cause)
}

export function endPause(state: RotationState, cause: PauseCause): void {
  state.pauses = state.pauses.filter((one) => one !== cause)
}

function takeOff(state: RotationState, now: boolean): void {
  for (const cause of ['operator', 'hsm-budget'] as const) endPause(state, cause)
  if (!now || !state.pauses.includes('window')) return
  endPause(state, 'window')
  state.isOutside = true
}

/** When every range waits for its HSM, the rotation shows as paused; it resumes by itself. */
function causesOf({ pauses, hsmAway, sweeping }: RotationState): PauseCause[] {
  const stands = hsmAway.size > 0 && hsmAway.size >= sweeping
  return stands ? [...pauses, 'hsm-away'] : [...pauses]
}

function awaited(state: RotationState): string[] {
  return [...state.awaiting, ...pausedFor(state)]
}

function pausedFor(state: RotationState): string[] {
  const hsm = awaitedHsm(state)
  const isClosed = state.pauses.includes('window')
  return [
    ...(isClosed ? [`its window, which opens ${state.opensAt ?? 'later'}`] : []),
    ...(hsm === null ? [] : [hsm]),
  ]
}

function awaitedHsm({ hsmAway, hsmAwaySince, sweeping }: RotationState): string | null {
  if (hsmAway.size === 0) return null
  const whys = [...new Set(hsmAway.values())].join('; ')
  const ranges = `${hsmAway.size} of ${Math.max(hsmAway.size, sweeping)} ranges`
  return `the HSM since ${hsmAwaySince} (${ranges}): ${whys}`
}

function progressOf(state: RotationState): RotationProgress {
  return {
    rotation: state.input.rotation,
    from: state.input.from,
    to: state.input.to,
    phase: state.phase,
    ...pauseOf(causesOf(state)),
    total: state.total,
    maxRate: state.maxRate,
    awaiting: awaited(state),
    pausedFor: pausedFor(state),
    startedAt: state.startedAt,
    ...state.counters,
  }
}
