import type { ControlDeps } from '../activities/deps.ts'
import { packageVersion } from '../config/package-version.ts'
import type { PageSources } from './listener/answer.ts'
import type { SharedOverview } from './overview/shared-overview.ts'
import type { Polling } from './polling.ts'
import type { ServedRoles } from './served-roles.ts'

/** What the listener's pages show of this process and of the keystore. */
export function pageSources(
  served: ServedRoles,
  polling: Polling,
  overview: SharedOverview,
  { config, node }: Pick<ControlDeps, 'config' | 'node'>,
): PageSources {
  return {
    notReady: async () => polling.problem() ?? (await served.notReady()),
    metrics: async () => await served.metrics(await overview.read()),
    async status() {
      const keystore = await overview.read()
      if (keystore === null) return null
      return { install: config.install, node, software: packageVersion(), ...keystore }
    },
  }
}
