import type { FleetMember } from '../keyring/membership.ts'
import type { Log } from '../observability/log.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { Config } from '../contracts/settings.ts'

/**
 * What the activities on the control queue share. A control node holds no keys, so none of them may need one. Made once by
 * `workers/`, closed after the last activity has ended.
 */
export interface ControlDeps {
  readonly config: Config
  readonly node: string
  readonly store: Store
  readonly metrics: Metrics
  readonly log: Log
  /** Called for a task that is not from this keystore; null for input without a task. */
  readonly onForeignTask?: (queue: Queue, task: string | null) => void
}

/** The queues: `control` needs no keys, `rewrap` needs keys, `node` is for one host. */
export type Queue = 'control' | 'rewrap' | 'node'

/** What the activities of a worker with keys have in addition. */
export interface ActivityDeps extends ControlDeps {
  readonly provider: KekProvider
  readonly member: FleetMember
}
