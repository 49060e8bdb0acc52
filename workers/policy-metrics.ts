import pTimeout from 'p-timeout'
import type { ControlDeps } from '../activities/deps.ts'
import { readPolicy } from '../store/kek-policy.ts'

/** How long a page of metrics waits for MongoDB, in milliseconds. */
const withinMs = 2_000

/** Reads the policy for the metrics. If MongoDB does not answer, they keep the state that was read last. */
export async function readPolicyMetrics({ store, metrics }: ControlDeps): Promise<void> {
  try {
    const row = await pTimeout(readPolicy(store), { milliseconds: withinMs })
    const nextRun = (row?.next_at.getTime() ?? 0) / 1000
    metrics.setPolicy(row === null ? null : { paused: row.paused !== null, nextRun })
  } catch {
    // The health page says what is wrong with MongoDB.
  }
}
