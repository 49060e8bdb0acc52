import pTimeout from 'p-timeout'
import { ApplicationFailure, Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import type { InstallInput } from '../contracts/install.ts'
import { isLive } from '../protocol/facts.ts'
import type { ActivityDeps } from './deps.ts'
import { readFleet } from './fleet.ts'

/** A person waits for an installation: what cannot work is told within a minute, with its reason. */
const END_AFTER_MS = 40_000
/** One step, whatever the module does; below the step's own limit in Temporal. */
const STEP_WITHIN_MS = 45_000
/** Soon, so that a process that can has it before the minute is over. */
const HAND_BACK_AFTER = '300ms'

/** What is wrong with this host or its token; another process may be well. */
const ofThisProcess: ReadonlySet<ErrorCode> = new Set([
  'module-missing',
  'token-not-found',
  'token-ambiguous',
  'token-not-usable',
  'mechanism-missing',
  'iv-mode-refused',
  'pin-refused',
  'pin-locked',
  'kek-not-loaded',
  'wrong-key',
] satisfies ErrorCode[])

/** What may pass by itself. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'hsm-failed',
  'hsm-away',
  'hsm-busy',
  'lease-expired',
  'pool-closed',
] satisfies ErrorCode[])

/**
 * A step of an installation. One that fails for a reason of this process goes back to the queue while another process with
 * keys lives, so that only one whose token works serves it; what might pass is repeated. Neither for longer than the time.
 */
export function serving<T>(
  deps: ActivityDeps,
  step: (input: InstallInput, signal: AbortSignal) => Promise<T>,
): (input: InstallInput) => Promise<T> {
  return async (input) => {
    const start = performance.now()
    try {
      return await limited((signal) => step(input, signal))
    } catch (error) {
      throw await failureOf(deps, error, performance.now() - start)
    }
  }
}

async function limited<T>(step: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const late = new AbortController()
  const giveUp = (): never => {
    const error = new KeyturnError('hsm-away', 'the HSM did not answer within 45 s', {
      hint: "look at the HSM and its client's network and service",
    })
    late.abort(error)
    throw error
  }
  return await pTimeout(step(late.signal), { milliseconds: STEP_WITHIN_MS, fallback: giveUp })
}

async function failureOf(deps: ActivityDeps, error: unknown, tookMs: number): Promise<unknown> {
  if (!(error instanceof KeyturnError)) return error
  const mayPass = passing.has(error.code)
  if (!mayPass && !ofThisProcess.has(error.code)) return error
  const { scheduledTimestampMs, currentAttemptScheduledTimestampMs } = Context.current().info
  const isLate = currentAttemptScheduledTimestampMs - scheduledTimestampMs + tookMs > END_AFTER_MS
  if (isLate) return failure(error, 'final')
  if (await hasOthers(deps)) return failure(error, 'back')
  return mayPass ? error : failure(error, 'final')
}

async function hasOthers(deps: ActivityDeps): Promise<boolean> {
  const { heartbeats } = await readFleet(deps)
  return heartbeats.some(
    (one) => one.role === 'worker' && isLive(one) && one.boot !== deps.member.boot,
  )
}

function failure(error: KeyturnError, end: 'final' | 'back'): ApplicationFailure {
  return ApplicationFailure.create({
    type: error.code,
    message: error.message,
    nonRetryable: end === 'final',
    details: [{ hint: error.hint }],
    ...(end === 'back' ? { nextRetryDelay: HAND_BACK_AFTER } : {}),
  })
}
