import { KeyturnError } from '../../contracts/errors.ts'
import type { InstallIdentity } from '../../contracts/names.ts'
import type { Store } from '../../store/store.ts'
import { runTrouble } from '../doctor/runs.ts'
import { whileWorkersLive } from '../views/workers.ts'
import { readBuilds } from '../temporal/builds.ts'
import type { TemporalLink } from '../temporal/connection.ts'
import { troubleOfRun } from '../temporal/troubled-runs.ts'

const lookEveryMs = 2_000

/** So many looks in a row: a worker that is just restarted, or has failed once, is no trouble yet. */
const looksUntilSaid = 4

/**
 * Waits for what a workflow does, and gives up with no-worker when the last worker falls silent, nobody serves the
 * workflow's build, or its tasks fail again and again; then the message says with what. The workflow is left as it is.
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
      // A worker that took the task and is late, as one that is frozen, is no reason: the next one may take it.
      const isLate = run?.reason === 'task-failing' && run.message === null
      looks = run === null || isLate ? 0 : looks + 1
      if (run === null || looks < looksUntilSaid) return
      const { what, cure } = runTrouble(run)
      reject(new KeyturnError('no-worker', what, { hint: cure }))
    }
    // Temporal or MongoDB away is said by who waits for the work itself.
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
