import { readFileSync } from 'node:fs'

/**
 * Milliseconds in which this thread ran on a core or waited for one. The rest of a batch's time is waiting for the token,
 * and only that can be shortened by more sessions than cores. Null if the kernel does not report it (Linux:
 * /proc/thread-self/schedstat, nanoseconds on a core and in the run queue).
 */
export function runnableMs(): number | null {
  try {
    const [onCore, queued] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')
    const nanoseconds = Number(onCore) + Number(queued)
    return Number.isFinite(nanoseconds) ? nanoseconds / 1e6 : null
  } catch {
    return null
  }
}
