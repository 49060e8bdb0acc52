import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'

/** The `stats()` of a KEK provider. */
export interface ProviderStats {
  sessions: number
  waiting: number
  calls: number
  reconnects: number
  /** Failed calls by the name of the code. */
  byCode: Readonly<Record<string, number>>
}

/** Registers the HSM's metrics and returns the function that takes running totals. A total that shrank counts from zero. */
export function providerMetrics(registry: Registry): (stats: ProviderStats) => void {
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers: [registry] })
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] })
  const calls = counter('keyturn_hsm_calls_total', 'Crypt calls made on the KEK provider')
  const reconnects = counter('keyturn_hsm_reconnects_total', 'Lane processes that were replaced')
  const errors = counter('keyturn_hsm_errors_total', 'Failed calls by code', ['code'])
  const sessions = gauge('keyturn_hsm_sessions', 'Sessions open on the token')
  const waiting = gauge('keyturn_hsm_waiting', 'Batches that wait for a session')
  const batches = gauge('keyturn_batches_waiting', 'The same as keyturn_hsm_waiting')
  const seen = new Map<string, number>()
  const since = (name: string, total: number): number => {
    const before = seen.get(name) ?? 0
    seen.set(name, total)
    return total < before ? total : total - before
  }
  return (stats) => {
    calls.inc(since('calls', stats.calls))
    reconnects.inc(since('reconnects', stats.reconnects))
    for (const [code, total] of Object.entries(stats.byCode)) {
      errors.inc({ code }, since(`code ${code}`, total))
    }
    sessions.set(stats.sessions)
    waiting.set(stats.waiting)
    batches.set(stats.waiting)
  }
}
