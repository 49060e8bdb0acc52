import { Gauge } from 'prom-client'
import type { Registry } from 'prom-client'

/** Registers `keyturn_heartbeat_age_seconds` and returns the function to call after each heartbeat. Before the first there is no value. */
export function lastBeat(registry: Registry): () => void {
  let at: number | null = null
  new Gauge({
    name: 'keyturn_heartbeat_age_seconds',
    help: 'Seconds since this process last wrote its heartbeat',
    registers: [registry],
    collect() {
      if (at === null) this.remove()
      else this.set((performance.now() - at) / 1000)
    },
  })
  return () => {
    at = performance.now()
  }
}
