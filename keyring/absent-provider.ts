import type { KeyturnError } from '../contracts/errors.ts'
import type { ProviderName } from '../contracts/kek.ts'
import type { KekCeremony, KekProvider } from '../providers/provider.ts'

/**
 * Replaces a provider that could not be opened (a refused PIN, a missing module), so that a worker stays up, degraded, and
 * `verify` can name it. Every use rejects with the same error. Nothing is retried: another login with a wrong PIN could lock
 * the token.
 */
export function absentProvider(name: ProviderName, error: KeyturnError): KekProvider {
  const refuse = () => Promise.reject(error)
  const trouble = { message: error.message, since: new Date() }
  const ceremony: KekCeremony = {
    probe: refuse,
    labelOf: () => {
      throw error
    },
    generate: refuse,
    find: refuse,
    examine: refuse,
    makeCanary: refuse,
    opensCanary: refuse,
    destroy: refuse,
    gcmProfile: refuse,
  }
  return {
    name,
    load: refuse,
    loaded: () => [],
    unload: () => Promise.resolve(),
    prove: refuse,
    check: refuse,
    wrap: refuse,
    unwrap: refuse,
    rewrap: refuse,
    ceremony,
    stats: () => ({ sessions: 0, waiting: 0, calls: 0, reconnects: 0, byCode: {}, trouble }),
    close: () => Promise.resolve(),
  }
}
