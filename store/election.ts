import { MongoError, MongoErrorLabel, MongoNetworkError } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from './limits.ts'
import { isChangeOfPrimary, isNotPrimary } from './store-errors.ts'
import { sent } from './unsent.ts'

/** Between two tries, in milliseconds. */
const pauseMs = 250

/**
 * Repeats a statement for as long as an election takes. The driver repeats once, and commands not at all. With `mayRepeat`
 * the statement is repeated even if it may have been executed.
 */
export async function throughElection<T>(ask: () => Promise<T>, mayRepeat: boolean): Promise<T> {
  const began = performance.now()
  for (;;) {
    try {
      return await sent(ask)
    } catch (error) {
      const isOver = performance.now() - began > limits.election
      if (isOver || !(mayRepeat ? isElection(error) : isUndone(error))) throw error
      await pause(pauseMs)
    }
  }
}

/** The primary changed during the statement. */
export function isElection(error: unknown): boolean {
  return isChangeOfPrimary(error) || error instanceof MongoNetworkError
}

function isUndone(error: unknown): boolean {
  if (isNotPrimary(error)) return true
  return error instanceof MongoError && error.hasErrorLabel(MongoErrorLabel.NoWritesPerformed)
}
