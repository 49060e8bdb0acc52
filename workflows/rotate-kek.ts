import { allHandlersFinished, CancellationScope, condition } from '@temporalio/workflow'
import { KeyturnError } from '../contracts/errors.ts'
import type {
  CarriedRotation,
  Preflight,
  RotateInput,
  RotateResult,
} from '../contracts/rotation.ts'
import { beginNextRun } from './next-run.ts'
import { deciding, surveying } from './profiles.ts'
import { proveFleet } from './prove-fleet.ts'
import { reportOf } from './refusal.ts'
import { planPass, rewrapRanges } from './rewrap-ranges.ts'
import { answerMessages, enter, mayGoOn, newRotationState, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'
import { RunIsFull } from './run-length.ts'
import { settle, watchingFleet } from './settle.ts'
import { inWindow } from './sweep-window.ts'

/** So many processes are named in a message. */
const namedAtOnce = 10

/**
 * Rotation A → B: preflight, verify, promote, rewrap, settle, finish (`docs/protocol.md`). It never fails: a refusal, a
 * fault and a cancel are outcomes, and each ends in `finish`, which clears the marks and closes the ranges.
 * A run with a long history continues as new in the same phase, with the state in `carried`.
 */
export async function rotateKek(
  input: RotateInput,
  carried: CarriedRotation | null = null,
): Promise<RotateResult> {
  const state = newRotationState(input, carried)
  answerMessages(state)
  cancelOnRequest(state)
  return await CancellationScope.nonCancellable(async () => {
    let result: RotateResult
    try {
      const facts = state.facts ?? (await preflight(state))
      if (isBeforeSweep(state) && !facts.isPast) {
        await verify(state)
        await promote(state, facts)
      }
      result = await watchingFleet(state, async (look) => {
        if (state.phase !== 'settle') await inWindow(state, () => rewrap(state))
        return await settle(state, facts, look)
      })
    } catch (error) {
      if (error instanceof RunIsFull) return await beginNextRun(state)
      result = await endWith(state, error)
    }
    await endedWith(state, result)
    return result
  })
}

/** A run that ended between verify and promote verifies again: the fleet may have changed. */
function isBeforeSweep({ phase }: RotationState): boolean {
  return phase !== 'rewrap' && phase !== 'settle'
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
  Object.assign(state, { facts, total: facts.total })
  show(state)
  await mayGoOn(state)
  return facts
}

async function verify(state: RotationState): Promise<void> {
  enter(state, 'verify')
  await deciding.recordPhase({ ...state.input, phase: 'verify' })
  await requireReadiness(state)
  await mayGoOn(state)
}

/** Asks the fleet for proof. The question and the processes that answered are recorded in the rotation's row. */
async function requireReadiness(state: RotationState): Promise<void> {
  const { to, rotation } = state.input
  const report = await proveFleet({ ...state.input, target: to }, rotation)
  const lacking = report.nodes.filter((node) => !node.ready)
  if (report.ready) return
  const names = lacking
    .slice(0, namedAtOnce)
    .map((node) => `${node.node} (${node.reason ?? 'unknown'})`)
    .join(', ')
  const more = lacking.length > namedAtOnce ? ` and ${lacking.length - namedAtOnce} more` : ''
  const configDiffers = lacking.some((node) => node.reason === 'config-differs')
  throw new KeyturnError(
    configDiffers ? 'config-differs' : 'not-ready',
    `version ${state.input.to} is not usable on ${names}${more}`,
    { hint: `keyturn verify --target ${state.input.to} shows a hint for each process` },
  )
}

/** Switches `kek_active` by compare-and-set on the epoch that preflight saw. */
async function promote(state: RotationState, facts: Preflight): Promise<void> {
  if (!facts.promote) return
  enter(state, 'promote')
  const { task, rotation } = state.input
  const switched = async () => deciding.promote({ task, rotation })
  let answer = await switched()
  // Processes that started since verify are asked before the switch; those that start during it read the new version
  // themselves. After a pause of two leases all processes are asked again.
  for (; !answer.promoted; state.asked += answer.isOld ? 0 : 1) {
    if (state.asked === 3) {
      throw new KeyturnError('not-ready', answer.reason, {
        hint: 'processes keep appearing: wait until the roll-out has ended',
      })
    }
    await requireReadiness(state)
    await mayGoOn(state)
    answer = await switched()
  }
}

async function rewrap(state: RotationState): Promise<void> {
  enter(state, 'rewrap')
  await mayGoOn(state)
  await deciding.recordPhase({ ...state.input, phase: 'rewrap' })
  state.plan ??= await planPass(state, 0)
  await rewrapRanges(state, state.plan)
  await mayGoOn(state)
  state.plan = null
}

/** A rotation that was refused before its row existed has nothing to finish. */
async function endWith(state: RotationState, failure: unknown): Promise<RotateResult> {
  const { task, rotation, from, to } = state.input
  const error = reportOf(failure)
  const answer = await surveying.finishRotation({ task, rotation, error })
  if (answer.state === 'ended') return answer.result
  const { counters, silent } = state
  const nothing = { remaining: 0, durationSeconds: 0, silent }
  return { rotation, from, to, outcome: 'refused', error, ...nothing, ...counters }
}

async function endedWith(state: RotationState, result: RotateResult): Promise<void> {
  Object.assign(state, { counters: result, awaiting: [] })
  enter(state, 'finish')
  await condition(allHandlersFinished)
}
