import { KeyturnError } from '../contracts/errors.ts'

/** Aborted by Ctrl-C, SIGTERM or a closed terminal, with the error that then ends the command. A second one kills. */
export function interruption(what: string): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      controller.abort(new KeyturnError('cancelled', `${what} was interrupted by ${signal}`))
    })
  }
  return controller.signal
}

/** Resolves when the signal is given. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve()
    })
  })
}

/** The work's end, or the signal's error, whichever comes first. */
export async function orAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  work.catch(() => undefined)
  const rejected = aborted(signal).then(() => Promise.reject(signal.reason as Error))
  rejected.catch(() => undefined)
  return Promise.race([work, rejected])
}
