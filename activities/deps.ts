import type { FleetMember } from '../keyring/fleet-member.ts'
import type { Log } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { Config } from '../contracts/settings.ts'

/** What every activity of a worker process shares; made once by `workers/`, closed after the last activity has ended. */
export interface ActivityDeps {
  readonly config: Config
  readonly node: string
  readonly store: Store
  readonly provider: KekProvider
  readonly member: FleetMember
  readonly metrics: Metrics
  readonly log: Log
}
