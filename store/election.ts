import { setTimeout as pause } from 'node:timers/promises'
import { limits } from './limits.ts'
import { isElection, isUndone } from './server-errors.ts'
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
