import { readFileSync } from 'node:fs'

/**
 * Milliseconds that this thread has been able to run: on a core, or ready and waiting for one. What is left of a batch's
 * time is waiting for the token, and only that is made shorter by more sessions than cores. Null where the kernel does not
 * say (Linux: /proc/thread-self/schedstat, nanoseconds on a core and in the run queue).
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
