import type { WorkflowsView } from '../../contracts/views.ts'
import { identityOf } from '../../store/kek-install.ts'
import type { Keystore } from '../keystore.ts'
import { readBuilds } from './builds.ts'
import type { TemporalLink } from './connection.ts'
import { troubledRuns } from './troubled-runs.ts'

/** The workers that serve workflows, and the stuck workflows; null before `setup`. */
export async function askWorkflows(
  { store, install: row }: Keystore,
  link: TemporalLink,
): Promise<WorkflowsView | null> {
  if (row === null) return null
  const install = identityOf(row)
  const builds = await readBuilds(link, store, install)
  return {
    versioned: builds.off === null,
    current: builds.current,
    workers: [...builds.workers],
    troubled: await troubledRuns(link, install, builds),
  }
}
