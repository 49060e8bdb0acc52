import { setTimeout as sleep } from 'node:timers/promises'
import {
  isGrpcServiceError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import { KeyturnError } from '../contracts/errors.ts'
import { messages, type InstallIdentity } from '../contracts/names.ts'
import { pauseOf } from '../contracts/rotation.ts'
import type { PlainUpdate, Resumed, RotationPause, SetRate } from '../contracts/rotation.ts'
import { innermost, reasonOf } from '../contracts/reasons.ts'
import type { Config } from '../contracts/settings.ts'
import type { TroubledRun } from '../contracts/views.ts'
import { recordAudit, type AuditEntry } from '../store/audit-outbox.ts'
import { runningRotation } from '../store/rotations.ts'
import { isUnconfirmed } from '../store/server-errors.ts'
import type { Store } from '../store/store.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { liveWorkers, requireWorker, whileWorkersLive } from './views/workers.ts'
import { readBuilds } from './temporal/builds.ts'
import { taskFailed, withTemporal, type TemporalLink } from './temporal/connection.ts'
import { isPolled, requirePollers } from './temporal/pollers.ts'
import { requester } from './temporal/names.ts'
import { decodeFailure } from './temporal/failures.ts'
import { followRotation, type Follower } from './follow.ts'
import { rotationReply, type RotationReply } from './rotate.ts'
import { liveRotation, type LiveRotation } from './temporal/live-rotation.ts'
import { troubleOfRun } from './temporal/troubled-runs.ts'

/** How long a message may wait for a control node that has no heartbeat, in milliseconds. */
const takenWithinMs = 10_000

/** The same while workers live: Temporal may hand the task to one that is frozen, and again after ten seconds. */
const heardWithinMs = 45_000

/** Pause between looks for the reason why no worker takes a message, in milliseconds. */
const lookEveryMs = 2_000

/** Throws no-rotation when there is nothing to steer, no-worker when no worker would take the message. */
export async function steer(
  config: Config,
  message: 'pause' | { rate: number },
): Promise<LiveRotation> {
  return withRunning(config, async (steered) => {
    await send(steered, message)
    await recorded(steered, message)
    return steered.running
  })
}

/** The rotation has obeyed already: a write that no majority confirms now is no failure of the command. */
async function recorded(
  { keystore, running }: Steered,
  message: 'pause' | 'resume' | { rate: number },
): Promise<void> {
  try {
    await recordAudit(keystore.store, steeringEntry(running, message))
  } catch (error) {
    if (!isUnconfirmed(error)) throw error
  }
}

function steeringEntry(
  { rotation }: LiveRotation,
  message: 'pause' | 'resume' | { rate: number },
): AuditEntry {
  const actor = requester()
  if (typeof message === 'object') {
    return { actor, action: 'rotation-rate-changed', subject: rotation, details: { ...message } }
  }
  const action = message === 'pause' ? 'rotation-paused' : 'rotation-resumed'
  return { actor, action, subject: rotation, details: {} }
}

/**
 * Takes off an operator's pause and that of a spent HSM budget; with `now` also that of the window, until it opens and closes
 * again. Returns the pauses that are left. Throws window-closed if only the window's was there, and `now` is not set.
 */
export async function resumeRotation(
  config: Config,
  { now }: { now: boolean },
): Promise<{ running: LiveRotation; pause: RotationPause; opensAt: string | null }> {
  return withRunning(config, async (steered) => {
    const answer = await send(steered, now ? 'resumeNow' : 'resume')
    const { taken, left, opensAt } = answer as Resumed
    if (taken.length === 0 && left.includes('window')) {
      throw new KeyturnError('window-closed', `its window is closed until ${opensAt ?? 'later'}`, {
        hint: 'it goes on by itself then; keyturn resume --now goes on at once',
      })
    }
    await recorded(steered, 'resume')
    return { running: steered.running, pause: pauseOf(left), opensAt }
  })
}

/**
 * Cancels the running rotation and waits until the pages in flight are written. `ask` is called once it is known what
 * would be cancelled. The reply's error is null when it was cancelled as requested.
 */
export async function cancelRotation(
  config: Config,
  ask: (running: LiveRotation) => Promise<void>,
  follower: Follower,
): Promise<RotationReply | null> {
  return withRunning(config, async (steered) => {
    const { link, keystore, running } = steered
    await ask(running)
    await send(steered, 'cancel')
    const result = await followRotation(link, keystore, running, follower)
    if (result === null) return null
    const reply = rotationReply(running, result)
    return result.outcome === 'cancelled' ? { ...reply, error: null } : reply
  })
}

/** A rotation that runs, and what leads to it. */
interface Steered {
  readonly link: TemporalLink
  readonly keystore: Keystore
  readonly install: InstallIdentity
  readonly running: LiveRotation
}

async function withRunning<T>(config: Config, use: (steered: Steered) => Promise<T>): Promise<T> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    return withTemporal(config, async (link) => {
      const running = await liveRotation(link, keystore.store, install)
      if (running === null) throw await nothingRuns(keystore.store)
      await requireControl(link, keystore.store, install)
      const steered = { link, keystore, install, running }
      const trouble = await troubleNow(steered)
      // One whose tasks fail may meet another worker; one without a worker waits in vain.
      if (trouble?.reason === 'build-unserved') throw untaken(trouble, running)
      return use(steered)
    })
  })
}

type Message = PlainUpdate | { rate: number }

/** Resolves to the handler's answer. */
async function send(steered: Steered, message: Message): Promise<unknown> {
  const { link, running } = steered
  const { store } = steered.keystore
  const handle = link.client.workflow.getHandle(running.workflowId)
  const isHeard = (await liveWorkers(store)) > 0
  const answered = new AbortController()
  try {
    // Awaited from here on: it may be refused at once.
    const update: Promise<unknown> = link.client.withAbortSignal(answered.signal, () => {
      if (typeof message === 'string') return handle.executeUpdate(messages[message])
      const args: SetRate['args'] = [message.rate]
      return handle.executeUpdate<unknown, SetRate['args']>(messages.setRate, { args })
    })
    await soon(steered, isHeard ? whileWorkersLive(store, update) : update, isHeard)
    return await update
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) throw await nothingRuns(store)
    if (error instanceof KeyturnError) throw givenUp(error)
    throw await updateFailure(steered, error)
  } finally {
    // A later answer to an abandoned message is ignored.
    answered.abort()
  }
}

/** Temporal keeps a message whose sender has gone: a worker that comes back may still take it. */
function givenUp({ code, message, hint, cause }: KeyturnError): KeyturnError {
  const late =
    'it may still be carried out when a worker that can run it is back: keyturn status shows it'
  return new KeyturnError(code, message, {
    hint: hint === undefined ? late : `${hint}; ${late}`,
    cause,
  })
}

/** The refusal of its handler; else the server did not take the message, or gave it up, since the workflow's tasks fail. */
async function updateFailure(steered: Steered, error: unknown): Promise<unknown> {
  const isGivenUp = error instanceof WorkflowUpdateFailedError
  const cause = innermost(error)
  const isRefused = isGrpcServiceError(cause) && /workflow task/i.test(cause.details)
  if (!isGivenUp && !isRefused) return error
  if (isGivenUp && error.cause instanceof ApplicationFailure) {
    return decodeFailure(error, 'temporal-refused')
  }
  const trouble = await troubleNow(steered).catch(() => null)
  return givenUp(
    trouble === null ? taskFailed(reasonOf(cause), error) : untaken(trouble, steered.running),
  )
}

/** A control node alone can take a message: it needs no keys, and has no heartbeat. */
async function requireControl(
  link: TemporalLink,
  store: Store,
  install: InstallIdentity,
): Promise<void> {
  if ((await liveWorkers(store)) > 0) return requirePollers(link, install, ['control'])
  if (!(await isPolled(link, install, 'control'))) await requireWorker(store)
}

/** Why the rotation takes no message now; null where nothing is known against it, or it cannot be read. */
async function troubleNow({
  link,
  keystore,
  install,
  running,
}: Steered): Promise<TroubledRun | null> {
  const builds = await readBuilds(link, keystore.store, install)
  return await troubleOfRun(link, builds, running.workflowId)
}

/** A run stays in its build: only a worker of that build takes its messages. */
function untaken(
  { reason, build, message }: TroubledRun,
  { rotation, to }: LiveRotation,
): KeyturnError {
  if (reason === 'task-failing') {
    const where = build === null ? '' : ` in build "${build}"`
    return taskFailed(
      `rotation "${rotation}" fails again and again${where}: ${message ?? 'its worker does not answer'}`,
      null,
    )
  }
  return new KeyturnError(
    'no-worker',
    `rotation "${rotation}" waits for a worker of build "${build ?? 'unknown'}", and none is alive`,
    {
      hint: `start a worker of that build, or: keyturn rotate --to-version ${to}, which ends the run and goes on in the build of now`,
    },
  )
}

/** Its worker took the task and was not heard of again, as one that is frozen: the next one may take it. */
function isLate({ reason, message }: TroubledRun): boolean {
  return reason === 'task-failing' && message === null
}

/** Ends at a limit, or as soon as the reason is known. Without confirmed heartbeats, only Temporal knows which workers live. */
async function soon(steered: Steered, update: Promise<unknown>, isHeard: boolean): Promise<void> {
  const withinMs = isHeard ? heardWithinMs : takenWithinMs
  const giveUpAt = performance.now() + withinMs
  const settled = update.then(() => 'taken' as const)
  settled.catch(() => undefined)
  while ((await Promise.race([settled, sleep(lookEveryMs, 'late' as const)])) === 'late') {
    const trouble = await troubleNow(steered).catch(() => null)
    if (trouble !== null && !isLate(trouble)) throw untaken(trouble, steered.running)
    if (performance.now() < giveUpAt) continue
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
