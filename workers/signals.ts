import type { KeyturnError } from '../contracts/errors.ts'
import type { ReopenedProvider } from '../keyring/reopened-provider.ts'
import type { Log } from '../observability/log.ts'

/** Aborts on the first SIGTERM or SIGINT. Later ones are ignored: the worker already stops. */
export function stopSignal(log: Log): AbortSignal {
  const controller = new AbortController()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!controller.signal.aborted) log.info({ signal }, 'stopping after the pages in flight')
      controller.abort()
    })
  }
  return controller.signal
}

/** On SIGHUP reads the PIN file again and reopens the token with it, with one try. Returns what removes the handler. */
export function renewOnHangUp(provider: ReopenedProvider, log: Log): () => void {
  const renew = (): void => {
    log.info('SIGHUP: reading the PIN again')
    const report = (error: KeyturnError | null): void => {
      if (error === null) log.info('the key store is open with the current PIN')
      else log.error({ code: error.code, hint: error.hint }, `SIGHUP: ${error.message}`)
    }
    provider.renew().then(report, (err: unknown) => log.error({ err }, 'SIGHUP failed'))
  }
  process.on('SIGHUP', renew)
  return () => process.off('SIGHUP', renew)
}
