import { once } from 'node:events'
import type { ControlDeps } from '../activities/deps.ts'
import { held } from './held.ts'
import { openListener } from './listener/open-listener.ts'
import type { Listening } from './listener/open-listener.ts'
import { SharedOverview } from './overview/shared-overview.ts'
import { pageSources } from './page-sources.ts'
import type { Polling } from './polling.ts'
import type { ServedRoles } from './served-roles.ts'
import { ServiceManager } from './service-manager.ts'

/** What the world outside sees of a worker: its pages, and what it tells systemd. */
export interface Outside {
  readonly listening: Listening
  readonly env: NodeJS.ProcessEnv
}

interface Serving {
  readonly served: ServedRoles
  readonly polling: Polling
  readonly deps: ControlDeps
  readonly outside: Outside
}

/** Serves the listener's pages until the signal, or until a worker of the SDK fails. */
export async function servePages(
  { served, polling, deps, outside }: Serving,
  stop: AbortSignal,
): Promise<void> {
  const { listening, env } = outside
  const overview = new SharedOverview(deps.store, listening.log)
  const sources = pageSources(served, polling, overview, deps)
  await held(
    openListener(sources, listening),
    async (pages) => {
      await pages.close()
      await overview.close()
    },
    async (pages) => {
      const degraded = codeOf(await sources.notReady())
      const memberSummary = { listen: pages.address, ...served.summary(), degraded }
      if (degraded === null) listening.log.info(memberSummary, 'worker is up')
      else listening.log.warn(memberSummary, 'worker is up, and degraded')
      const { log } = listening
      const status = async () => {
        const problem = await sources.notReady()
        return problem === null ? 'works' : `degraded: ${problem}`
      }
      await held(
        ServiceManager.begin(status, { env, log }),
        async (manager) => await manager?.close(),
        async () => {
          await Promise.race([stopped(stop), polling.ended])
        },
      )
      // The pages answer until running work has ended.
      await polling.close()
    },
  )
}

async function stopped(stop: AbortSignal): Promise<void> {
  if (!stop.aborted) await once(stop, 'abort')
}

/** The code in front of a problem that `/readyz` shows. */
function codeOf(problem: string | null): string | null {
  return problem?.split(':', 1)[0] ?? null
}
