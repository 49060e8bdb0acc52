import { KeyturnError } from '../../contracts/errors.ts'
import type { InstallIdentity } from '../../contracts/names.ts'
import type { Store } from '../../store/store.ts'
import { runProblem } from '../doctor/runs.ts'
import { whileWorkersLive } from '../views/workers.ts'
import { readBuilds } from './builds.ts'
import type { TemporalLink } from './connection.ts'
import { troubleOfRun } from './troubled-runs.ts'

const lookEveryMs = 2_000

/** A problem counts after this many looks in a row: a worker may be restarting, or may have failed once. */
const looksUntilReported = 4

/**
 * Waits for the result of a workflow. Throws no-worker when the last worker stops sending heartbeats, when no worker serves
 * the workflow's build, or when its tasks keep failing; the message has the failure. The workflow is left as it is.
 */
export async function whileServed<T>(
  { link, store, install }: { link: TemporalLink; store: Store; install: InstallIdentity },
  workflowId: string,
  work: Promise<T>,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let looks = 0
  let isLooking = false
  const trouble = new Promise<never>((_, reject) => {
    const look = async () => {
      const run = await troubleOfRun(link, await readBuilds(link, store, install), workflowId)
      // A worker that took the task and is late, for example a frozen one, does not count: the next worker may take it.
      const isLate = run?.reason === 'task-failing' && run.message === null
      looks = run === null || isLate ? 0 : looks + 1
      if (run === null || looks < looksUntilReported) return
      const { what, hint } = runProblem(run)
      reject(new KeyturnError('no-worker', what, { hint }))
    }
    // An outage of Temporal or MongoDB is reported by the caller's own wait for the result.
    timer = setInterval(() => {
      if (isLooking) return
      isLooking = true
      void look()
        .catch(() => undefined)
        .finally(() => (isLooking = false))
    }, lookEveryMs)
  })
  try {
    return await Promise.race([whileWorkersLive(store, work), trouble])
  } finally {
    clearInterval(timer)
  }
}
