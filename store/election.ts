import { MongoError, MongoErrorLabel, MongoNetworkError } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { limits } from './limits.ts'
import { isChangeOfPrimary, isNotPrimary } from './store-errors.ts'
import { sent } from './unsent.ts'

/** Between two tries, in milliseconds. */
const pauseMs = 250

/**
 * Repeats a statement for as long as an election takes. The driver itself repeats once, and commands not at all. One that
 * `mayRepeat` is repeated although it was perhaps done.
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

/** The primary changed while this was asked. */
export function isElection(error: unknown): boolean {
  return isChangeOfPrimary(error) || error instanceof MongoNetworkError
}

function isUndone(error: unknown): boolean {
  if (isNotPrimary(error)) return true
  return error instanceof MongoError && error.hasErrorLabel(MongoErrorLabel.NoWritesPerformed)
}
