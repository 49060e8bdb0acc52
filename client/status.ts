import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import type { StatusView } from '../contracts/views.ts'
import { identityOf } from '../store/kek-install.ts'
import { withKeystore, type Keystore } from './keystore.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { policyView } from './policy/show.ts'
import { describeSchedule } from './policy/schedule.ts'
import { isPolled } from './temporal/pollers.ts'
import { awaitedSteps } from './temporal/pending-steps.ts'
import { lastPause, liveRotation, queryProgress } from './temporal/live-rotation.ts'
import { liveWorkers } from './views/workers.ts'
import { statusView, type Live } from './views/status.ts'
import { askWorkflows } from './temporal/workflows.ts'

/**
 * The state of an install. It works before the first installation, and without Temporal: then `temporal` is `unreachable`
 * and no rotation is shown. Throws what `withKeystore` throws.
 */
export async function readStatus(config: Config): Promise<StatusView> {
  return withKeystore(config, async (keystore) =>
    statusView(config, keystore, await readLive(config, keystore)),
  )
}

async function readLive(config: Config, keystore: Keystore): Promise<Live> {
  try {
    return await withTemporal(
      config,
      async (link) => {
        const [live, workflows] = await Promise.all([
          askTemporal(keystore, link),
          askWorkflows(keystore, link),
        ])
        return { ...live, ...(workflows === null ? {} : { workflows }) }
      },
      askWithinMs,
    )
  } catch (error) {
    if (!(error instanceof KeyturnError) || !withoutTemporal.has(error.code)) throw error
    const policy = await policyView(keystore.store, undefined)
    return { rotation: null, policy, unreachable: error.code !== 'no-worker' }
  }
}

/** How long to wait for Temporal before the status is shown without it, in milliseconds. */
const askWithinMs = 2000

/** Errors of Temporal that do not fail the command: the census is needed most then. */
const withoutTemporal = new Set(['temporal-unreachable', 'temporal-refused', 'no-worker'])

async function askTemporal({ store, install: row }: Keystore, link: TemporalLink): Promise<Live> {
  if (row === null) return { rotation: null, policy: null, unreachable: false }
  const install = identityOf(row)
  const [running, policy] = await Promise.all([
    liveRotation(link, store, install),
    describeSchedule(link, install).then((schedule) => policyView(store, schedule)),
  ])
  if (running === null) return { rotation: null, policy, unreachable: false }
  const { rotation: id, workflowId, runId } = running
  const [progress, pause, isSwept, workers, awaiting] = await Promise.all([
    queryProgress(link, workflowId),
    lastPause(link, workflowId),
    isPolled(link, install, 'rewrap'),
    liveWorkers(store),
    awaitedSteps(link, workflowId),
  ])
  const lacksKeys = !isSwept || workers === 0
  const rotation = {
    id,
    workflowId,
    runId,
    progress,
    pause: progress ?? pause,
    lacksKeys,
    awaiting,
  }
  return { rotation, policy, unreachable: false }
}
