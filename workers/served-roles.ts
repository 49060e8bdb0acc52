import type { NativeConnection, Worker } from '@temporalio/worker'
import type { ActivityDeps, ControlDeps } from '../activities/deps.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { DatedOverview } from '../contracts/overview.ts'
import type { ReopenedProvider } from '../keyring/reopened-provider.ts'
import { requireAnswer } from '../store/majority.ts'
import { createControlHost, createHost } from './hosts.ts'
import type { QueueToPoll, WorkerRole } from './hosts.ts'
import type { WorkerMetrics } from './metrics.ts'
import { readPolicyMetrics } from './policy-metrics.ts'

/** The roles that a process serves, how their workers are opened, and what its pages and its log show. */
export interface ServedRoles {
  /** Why this process does not do its work; null when it does. */
  notReady(): Promise<string | null>
  metrics(overview: DatedOverview | null): Promise<string>
  readonly roles: readonly WorkerRole[]
  open(connection: NativeConnection, queue: QueueToPoll): Promise<Worker>
  summary(): object
  /** False while this process sees an older keystore than before: then its audit is not continued. */
  mayChain(): boolean
}

export function controlRoles(deps: ControlDeps, metrics: WorkerMetrics): ServedRoles {
  return {
    roles: ['control'],
    open: (connection, queue) => createControlHost(deps, connection, queue),
    notReady: async () =>
      await requireAnswer(deps.store).then(
        () => null,
        (error: unknown) =>
          error instanceof KeyturnError
            ? `${error.code}: ${error.message}`
            : 'mongodb-unreachable: MongoDB does not answer',
      ),
    metrics: async (overview) => {
      await readPolicyMetrics(deps)
      return await metrics.render(null, overview)
    },
    summary: () => ({ roles: ['control'] }),
    mayChain: () => true,
  }
}

/** The dependencies of a worker with keys. */
export interface KeyDeps extends ActivityDeps {
  readonly provider: ReopenedProvider
}

export function keyRoles(
  keys: KeyDeps,
  roles: readonly WorkerRole[],
  metrics: WorkerMetrics,
): ServedRoles {
  return {
    // A process with keys serves its host's queue, so that verify can ask it.
    roles: [...new Set<WorkerRole>([...roles, 'node'])],
    open: (connection, queue) => createHost(keys, connection, queue),
    notReady: () => Promise.resolve(notReady(keys)),
    metrics: async (overview) => {
      await readPolicyMetrics(keys)
      return await metrics.render(keys, overview)
    },
    summary: () => ({ roles, ...membershipOf(keys) }),
    mayChain: () => keys.member.state().degraded?.reason !== 'keystore-older',
  }
}

function notReady({ member, provider }: KeyDeps): string | null {
  const trouble = provider.trouble()
  if (trouble !== null) return `${trouble.code}: ${trouble.message}`
  const { degraded, leaseOk } = member.state()
  if (degraded !== null) return `${degraded.reason}: ${degraded.message}`
  return leaseOk ? null : 'lease-expired: no heartbeat reached MongoDB in time'
}

function membershipOf({ member }: KeyDeps) {
  const { installed, active, loaded } = member.state()
  return { installed, active: active?.version ?? null, loaded }
}
