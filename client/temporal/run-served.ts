import type { Store } from '../../store/store.ts'
import type { TemporalLink } from './connection.ts'
import {
  resultOf,
  startOrJoin,
  type ClientResult,
  type ClientWorkflows,
  type Start,
} from './start.ts'
import { endUnserved } from './troubled-runs.ts'
import { whileServed } from './while-served.ts'

/**
 * Starts a workflow, or joins the one that runs, and waits for its result while workers serve it. A run of a build without
 * workers is terminated first. Throws no-worker, and the workflow's failure.
 */
export async function runServed<K extends keyof ClientWorkflows>(
  link: TemporalLink,
  store: Store,
  start: Start<K>,
): Promise<ClientResult<K>> {
  const { install, workflowId } = start
  await endUnserved(link, store, install, workflowId)
  const handle = await startOrJoin(link, start)
  const result = resultOf(handle, 'temporal-refused')
  return whileServed({ link, store, install }, workflowId, result)
}
