import { ApplicationFailure, CancelledFailure } from '@temporalio/activity'
import { exitCodes, KeyturnError } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import { asSystemError, reasonOf } from '../contracts/reasons.ts'
import { asStoreError } from '../store/store-errors.ts'
import type { TaskInput } from './foreign-task.ts'

/**
 * Errors that may pass by themselves or after a repair: a server, a token, a permission or a lease that comes back. All
 * others are final.
 */
const passing: ReadonlySet<ErrorCode> = new Set([
  'mongodb-unreachable',
  'mongodb-refused',
  'system-refused',
  'temporal-unreachable',
  'hsm-failed',
  'hsm-away',
  'hsm-busy',
  'lease-expired',
  'kek-not-loaded',
  'pool-closed',
  'not-installed',
  'foreign-task',
  'keystore-older',
  'internal',
] satisfies ErrorCode[])

/** Refusals by a guard (exit 3) are expected: Temporal counts them as benign and logs no warning. */
const isRefusal = (code: ErrorCode) => exitCodes[code] === 3

/**
 * Turns our errors into Temporal's and decides which are retried. The message and the hint are passed on, the cause is not:
 * a driver's error could contain more than a payload should hold.
 */
export function toFailure(error: unknown): unknown {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error
  const known = error instanceof KeyturnError ? error : unexpected(error)
  return ApplicationFailure.create({
    type: known.code,
    message: known.message,
    nonRetryable: !passing.has(known.code),
    details: [{ hint: known.hint }],
    ...(isRefusal(known.code) ? { category: 'BENIGN' } : {}),
  })
}

/** Codes for errors of the driver and the system; any other error is `internal`, which is retried too. */
function unexpected(error: unknown): KeyturnError {
  const known = asStoreError(error)
  if (known instanceof KeyturnError) return known
  const name = error instanceof Error ? error.name : 'unknown'
  return asSystemError(error) ?? new KeyturnError('internal', `${name}: ${reasonOf(error)}`)
}

type Activities = Record<string, (input: never) => Promise<unknown>>

/** Each activity as a workflow calls it: its input includes the task. */
export type Gated<T extends Activities> = {
  [K in keyof T]: T[K] extends (input: infer I) => infer R ? (input: I & TaskInput) => R : never
}

/** Wraps every activity: `admit` rejects when this process may not or cannot do the work now, and errors become failures. */
export function gated<T extends Activities>(
  activities: T,
  admit: (input: unknown) => Promise<void>,
): Gated<T> {
  const behind = Object.entries(activities).map(([name, run]) => [
    name,
    async (input: never) => {
      try {
        await admit(input)
        return await run(input)
      } catch (error) {
        throw toFailure(error)
      }
    },
  ])
  return Object.fromEntries(behind) as Gated<T>
}
