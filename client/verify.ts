import type { ReadinessNode, ReadinessReport } from '../contracts/fleet.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { VerifyInput } from '../contracts/install.ts'
import { workflowIds, type InstallIdentity } from '../contracts/names.ts'
import type { Config } from '../contracts/settings.ts'
import { insertTask } from '../store/kek-tasks.ts'
import type { Store } from '../store/store.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { fleetNodes } from './views/nodes.ts'
import { requireVersion } from './views/versions.ts'
import { requireWorker } from './views/workers.ts'
import { withTemporal } from './temporal/connection.ts'
import { requirePollers } from './temporal/pollers.ts'
import { requester } from './temporal/names.ts'
import { runServed } from './temporal/run-served.ts'

export interface Verification {
  report: ReadinessReport
  /** not-ready, config-differs or no-worker; null when every process can use the version. */
  error: KeyturnError | null
}

/**
 * Proves that each process of the fleet can use version `target`. Without a worker it returns the roster immediately.
 * Throws version-unknown, and whatever prevents the verification from starting.
 */
export async function verifyFleet(config: Config, target: number): Promise<Verification> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    await requireVersion(keystore.store, target)
    try {
      await requireWorker(keystore.store)
      return verdict(await ask(config, { ...keystore, install }, target))
    } catch (error) {
      if (!(error instanceof KeyturnError) || error.code !== 'no-worker') throw error
      return { report: await silentRoster(keystore, target), error }
    }
  })
}

async function ask(
  config: Config,
  { store, install }: { store: Store; install: InstallIdentity },
  target: number,
): Promise<ReadinessReport> {
  return withTemporal(config, async (link) => {
    await requirePollers(link, install, ['control'])
    const task = await insertTask(store, { kind: 'verify', by: requester() })
    const input: VerifyInput = { install, task, target }
    return runServed(link, store, {
      workflow: 'verify',
      workflowId: workflowIds.verify(install, target),
      install,
      input,
      summary: `verify v${target} of ${install.name}`,
    })
  })
}

function verdict(report: ReadinessReport): Verification {
  if (report.ready) return { report, error: null }
  const lacking = report.nodes.filter(({ ready }) => !ready)
  const names = [...new Set(lacking.map(({ node }) => node))].join(', ')
  const code = lacking.some(({ reason }) => reason === 'config-differs')
    ? 'config-differs'
    : 'not-ready'
  return {
    report,
    error: new KeyturnError(code, `version "${report.target}" is not usable on ${names}`, {
      hint: 'each process is listed above, with what to do',
    }),
  }
}

/** The report without a worker: the expected nodes, and the processes that still send heartbeats. */
async function silentRoster({ store }: Keystore, target: number): Promise<ReadinessReport> {
  const expected = (await fleetNodes(store)).filter(({ decommissioned }) => !decommissioned)
  const nodes = expected.flatMap(({ node, processes }): ReadinessNode[] =>
    processes.length === 0
      ? [{ node, role: null, pid: null, ready: false, reason: 'missing', provenAt: null }]
      : processes.map(({ role, pid, loaded }) => ({
          node,
          role,
          pid,
          ready: false,
          reason: loaded.includes(target) ? 'stale' : 'not-loaded',
          provenAt: null,
        })),
  )
  return { target, ready: false, nodes, crossChecked: false }
}
