import { setTimeout as sleep } from 'node:timers/promises'
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client'
import { KeyturnError } from '../../contracts/errors.ts'
import { messages, type InstallIdentity } from '../../contracts/names.ts'
import type { Config } from '../../contracts/settings.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Store } from '../../store/store.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from '../keystore.ts'
import { liveWorkers, requireWorker, whileWorkersLive } from '../views/workers.ts'
import { readBuilds } from './builds.ts'
import { taskFailed, withTemporal, type TemporalLink } from './connection.ts'
import { isTaken, requireDuties } from './duties.ts'
import { decodeFailure } from './failures.ts'
import { followRotation, type Follower } from './follow.ts'
import { rotationReply, type RotationReply } from './rotate.ts'
import { liveRotation, type LiveRotation } from './running.ts'
import { unservedBuild } from './troubled-runs.ts'

/** How long a message may wait for a control node that has no heartbeat, in milliseconds. */
const takenWithinMs = 10_000

/** The same while workers live: Temporal may hand the task to one that is frozen, and again after ten seconds. */
const heardWithinMs = 45_000

/** Throws no-rotation when there is nothing to steer, no-worker when nobody would take the message. */
export async function steer(
  config: Config,
  message: 'pause' | 'resume' | { rate: number },
): Promise<LiveRotation> {
  return withRunning(config, async (link, keystore, running) => {
    if (typeof message === 'string') await send(link, keystore, running, message)
    else await send(link, keystore, running, messages.setRate, message.rate)
    return running
  })
}

/**
 * Cancels the running rotation and waits until the pages in flight are written. `ask` is called once it is known what
 * would be cancelled. The reply's error is null when it was cancelled, as asked.
 */
export async function cancelRotation(
  config: Config,
  ask: (running: LiveRotation) => Promise<void>,
  follower: Follower,
): Promise<RotationReply | null> {
  return withRunning(config, async (link, keystore, running) => {
    await ask(running)
    await send(link, keystore, running, messages.cancel)
    const result = await followRotation(link, keystore, running, follower)
    if (result === null) return null
    const reply = rotationReply(running, result)
    return result.outcome === 'cancelled' ? { ...reply, error: null } : reply
  })
}

async function withRunning<T>(
  config: Config,
  use: (link: TemporalLink, keystore: Keystore, running: LiveRotation) => Promise<T>,
): Promise<T> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    return withTemporal(config, async (link) => {
      const running = await liveRotation(link, keystore.store, install)
      if (running === null) throw await nothingRuns(keystore.store)
      await requireControl(link, keystore.store, install)
      await requireServed(link, keystore.store, install, running)
      return use(link, keystore, running)
    })
  })
}

async function send(
  link: TemporalLink,
  { store }: Keystore,
  running: LiveRotation,
  message: string,
  ...args: [] | [number]
): Promise<void> {
  const handle = link.client.workflow.getHandle(running.workflowId)
  try {
    const update =
      args.length === 0
        ? handle.executeUpdate(message)
        : handle.executeUpdate<unknown, [number]>(message, { args })
    const isHeard = (await liveWorkers(store)) > 0
    await soon(isHeard ? whileWorkersLive(store, update) : update, isHeard)
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw await nothingRuns(store)
    if (error instanceof WorkflowUpdateFailedError) throw decodeFailure(error, 'temporal-refused')
    throw error
  }
}

/** A control node alone can take a message: it needs no keys, and has no heartbeat. */
async function requireControl(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<void> {
  if ((await liveWorkers(store)) > 0) return requireDuties(link, install, ['control'])
  if (!(await isTaken(link, install, 'control'))) await requireWorker(store)
}

/** A run stays in its build: without a worker of that nobody takes the message, though others live. */
async function requireServed(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
  { rotation, workflowId, to }: LiveRotation,
): Promise<void> {
  const builds = await readBuilds(link, store, install)
  const build = await unservedBuild(link, builds, workflowId)
  if (build === null) return
  throw new KeyturnError(
    'no-worker',
    `rotation "${rotation}" waits for a worker of build "${build}", and none is alive`,
    {
      hint: `start a worker of that build, or: keyturn rotate --to-version ${to}, which ends the run and goes on in the build of now`,
    },
  )
}

/** Nobody's heartbeat says whether the worker that polled lately is still there. */
async function soon(update: Promise<unknown>, isHeard: boolean): Promise<void> {
  const withinMs = isHeard ? heardWithinMs : takenWithinMs
  const late = sleep(withinMs, 'late' as const, { ref: false })
  const first = await Promise.race([update, late])
  if (first === 'late') {
    update.catch(() => undefined)
    if (isHeard) throw taskFailed(`the message was not taken within ${withinMs / 1000} s`, null)
    throw new KeyturnError('no-worker', 'no worker took the message in time', {
      hint: 'start one: keyturn worker; keyturn nodes shows the fleet',
    })
  }
}

/** One whose workflow was ended from outside has left its marks: the next rotation takes them over. */
async function nothingRuns(store: Store): Promise<KeyturnError> {
  const abandoned = await runningRotation(store)
  if (abandoned === null) {
    return new KeyturnError('no-rotation', 'no rotation is running', {
      hint: 'keyturn status shows the last one; keyturn rotate starts one',
    })
  }
  const { _id: rotation, to } = abandoned
  return new KeyturnError(
    'no-rotation',
    `the workflow of rotation "${rotation}" was ended from outside`,
    { hint: `go on: keyturn rotate --to-version ${to}` },
  )
}
