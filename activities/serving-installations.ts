import pTimeout from 'p-timeout'
import { ApplicationFailure, Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import type { InstallInput } from '../contracts/install.ts'
import { isLive } from '../protocol/facts.ts'
import type { ActivityDeps } from './deps.ts'
import { readFleet } from './fleet.ts'

/** A person waits for an installation: a failure is reported within a minute, with its reason. */
const END_AFTER_MS = 40_000
/** Limit of one step, even if the module hangs; below the step's limit in Temporal. */
const STEP_WITHIN_MS = 45_000
/** Short, so that another process can take the step within the minute. */
const HAND_BACK_AFTER = '300ms'

/** Faults of this host or its token; another process may succeed. */
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

/** Faults that may pass by themselves. */
const passing: ReadonlySet<ErrorCode> = new Set([
  'hsm-failed',
  'hsm-away',
  'hsm-busy',
  'lease-expired',
  'pool-closed',
] satisfies ErrorCode[])

/**
 * Runs a step of an installation. While another worker lives, a step that fails because of this process goes back to the
 * queue, so that a process whose token works takes it. Faults that may pass are retried. Both end after 40 seconds.
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
