import type { DatedOverview } from '../contracts/overview.ts'
import { createMetrics } from '../observability/metrics.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { ActivityDeps } from '../activities/deps.ts'
import { freePort } from './free-port.ts'

/** How long `/metrics` waits for the SDK's own page, in ms. */
const sdkAnswersWithinMs = 2_000

export type KeyHolder = Pick<ActivityDeps, 'member' | 'provider'>

export interface WorkerMetrics {
  /** The counters that activities increment. */
  readonly counts: Metrics
  /** Where the SDK serves its own metrics, on the loopback interface. */
  readonly sdkAddress: string
  /**
   * One page: Keyturn's metrics, then the SDK's. `holder` is null for a control node, which has no member and no provider,
   * `overview` if there is none.
   */
  render(holder: KeyHolder | null, overview: DatedOverview | null): Promise<string>
}

export async function workerMetrics(install: string, node: string): Promise<WorkerMetrics> {
  const metrics = createMetrics({ install, node, processMetrics: true, keystoreMetrics: true })
  const sdkAddress = `127.0.0.1:${await freePort()}`
  return {
    counts: metrics,
    sdkAddress,
    async render(holder, overview) {
      metrics.setOverview(overview)
      if (holder !== null) {
        const { active, loaded, leaseOk, degraded } = holder.member.state()
        metrics.setMember({ active, loaded, leaseOk, degraded: degraded !== null })
        metrics.setProvider(holder.provider.stats())
      }
      return (await metrics.render()) + (await sdkPage(sdkAddress))
    },
  }
}

/** Empty when the SDK does not answer: Keyturn's own metrics must not depend on it. */
async function sdkPage(address: string): Promise<string> {
  try {
    const signal = AbortSignal.timeout(sdkAnswersWithinMs)
    const response = await fetch(`http://${address}/metrics`, { signal })
    return await response.text()
  } catch {
    return ''
  }
}
