import type { FleetMember } from '../keyring/membership.ts'
import type { Log } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { Config } from '../contracts/settings.ts'

/**
 * What the steps on the control queue share, and all that they have: a control node holds no keys, so none of them may
 * need one. Made once by `workers/`, closed after the last activity has ended.
 */
export interface ControlDeps {
  readonly config: Config
  readonly node: string
  readonly store: Store
  readonly metrics: Metrics
  readonly log: Log
  /** Told of work that was not asked for in this keystore; null for work that says nothing of where it was. */
  readonly onForeignTask?: (queue: Queue, task: string | null) => void
}

/** Each queue has its activities: `control` without keys, `rewrap` with them, `node` of one host. */
export type Queue = 'control' | 'rewrap' | 'node'

/** What the activities of a worker with keys have besides. */
export interface ActivityDeps extends ControlDeps {
  readonly provider: KekProvider
  readonly member: FleetMember
}
