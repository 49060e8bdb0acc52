import { setTimeout as sleep } from 'node:timers/promises'
import { WorkflowFailedError } from '@temporalio/client'
import { TerminatedFailure } from '@temporalio/common'
import { isTemporalAway } from '../config/temporal-failures.ts'
import { inWords } from '../contracts/durations.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { RotateResult, RotationProgress } from '../contracts/rotation.ts'
import type { TroubledRun } from '../contracts/views.ts'
import { identityOf } from '../store/kek-install.ts'
import { readRotation } from '../store/rotations.ts'
import { sumCounters } from '../store/rewrap-ranges.ts'
import type { rotateKek } from '../workflows/index.ts'
import type { Keystore } from './keystore.ts'
import { readBuilds } from './temporal/builds.ts'
import type { TemporalLink } from './temporal/connection.ts'
import { decodeFailure } from './temporal/failures.ts'
import { awaitedSteps } from './temporal/pending-steps.ts'
import {
  describe,
  firstRunOf,
  lastPause,
  queryProgress,
  type LiveRotation,
} from './temporal/live-rotation.ts'
import { troubleOfRun } from './temporal/troubled-runs.ts'

/** How long a follower waits for an unreachable Temporal. The rotation itself waits without a limit. */
const maxOutageMs = 60_000
const betweenLooksMs = 500
/** The pending steps are read on every fourth look: every two seconds. */
const looksBetweenSteps = 4
const betweenTriesMs = 1000

/** The callbacks of a process that follows a rotation. Aborting `signal` detaches; the rotation continues. */
export interface Follower {
  readonly signal: AbortSignal
  onAttach(running: LiveRotation): void
  onProgress(progress: RotationProgress): void
  /** Temporal was lost or is reachable again, or the workflow was reset. */
  onNote(note: string): void
}

/**
 * Follows a rotation to its end; null when the follower detached. Progress comes from the workflow, or from the keystore
 * when no worker answers. Throws temporal-unreachable after 60 s without Temporal; the rotation continues.
 */
export async function followRotation(
  link: TemporalLink,
  keystore: Keystore,
  running: LiveRotation,
  follower: Follower,
): Promise<RotateResult | null> {
  const ended = new AbortController()
  const watching = watchProgress(link, keystore, running, follower, ended.signal)
  try {
    return await awaitResult(link, running, follower)
  } catch (error) {
    if (follower.signal.aborted) return null
    throw decodeFailure(error, 'rotation-failed')
  } finally {
    ended.abort()
    await watching
  }
}

async function awaitResult(
  link: TemporalLink,
  running: LiveRotation,
  follower: Follower,
): Promise<RotateResult> {
  const { signal } = follower
  const outage = new Outage(link, running, (line) => follower.onNote(line))
  for (let { runId } = running; ;) {
    try {
      const handle = link.client.workflow.getHandle<typeof rotateKek>(running.workflowId, runId)
      return await link.client.withAbortSignal(signal, () => handle.result())
    } catch (error) {
      if (signal.aborted) throw error
      if (isTerminated(error)) {
        const reset = await resetRun(link, running, follower)
        if (reset === null) throw error
        runId = reset
        continue
      }
      if (!isTemporalAway(error)) throw error
      await outage.untilBack(signal)
    }
  }
}

const isTerminated = (error: unknown) =>
  error instanceof WorkflowFailedError && error.cause instanceof TerminatedFailure

/** A reset terminates a run, and the rotation continues in a new one. Null: the workflow was terminated without a reset. */
async function resetRun(
  link: TemporalLink,
  running: LiveRotation,
  follower: Follower,
): Promise<string | null> {
  const latest = await describe(link, running.workflowId)
  if (latest === null || latest.status.name === 'TERMINATED') return null
  if (firstRunOf(latest) !== running.runId) return null
  follower.onNote('its workflow was reset from outside; following the new run')
  return latest.runId
}

/** Waits while Temporal is unreachable. */
class Outage {
  private readonly link: TemporalLink
  private readonly running: LiveRotation
  private readonly note: (line: string) => void

  constructor(link: TemporalLink, running: LiveRotation, note: (line: string) => void) {
    this.link = link
    this.running = running
    this.note = note
  }

  async untilBack(signal: AbortSignal): Promise<void> {
    const lostAt = performance.now()
    // A long poll that timed out is no outage. The pause limits the calls to a server that refuses immediately.
    await sleep(betweenTriesMs / 4, undefined, { signal })
    if (await this.answers()) return
    this.note(`lost temporal at "${this.link.address}"; trying again for ${inWords(maxOutageMs)}`)
    while (performance.now() - lostAt < maxOutageMs) {
      await sleep(betweenTriesMs, undefined, { signal })
      if (!(await this.answers())) continue
      this.note('reconnected to temporal')
      return
    }
    const { rotation, to } = this.running
    throw new KeyturnError(
      'temporal-unreachable',
      `temporal at "${this.link.address}" is lost; rotation "${rotation}": it goes on`,
      { hint: `attach again with: keyturn rotate --to-version ${to}` },
    )
  }

  private async answers(): Promise<boolean> {
    const { client } = this.link
    try {
      await client.withDeadline(Date.now() + betweenTriesMs, () =>
        client.connection.workflowService.getSystemInfo({}),
      )
      return true
    } catch {
      return false
    }
  }
}

async function watchProgress(
  link: TemporalLink,
  keystore: Keystore,
  running: LiveRotation,
  follower: Follower,
  ended: AbortSignal,
): Promise<void> {
  const stop = AbortSignal.any([ended, follower.signal])
  const goesOn = () => !stop.aborted
  let steps: string[] = []
  for (let look = 0; goesOn(); look += 1) {
    const progress = await lookAt(link, keystore, running)
    if (look % looksBetweenSteps === 0) {
      steps = await awaited(link, keystore, running).catch(() => steps)
    }
    if (progress !== null && goesOn()) {
      follower.onProgress({ ...progress, awaiting: [...steps, ...progress.awaiting] })
    }
    await sleep(betweenLooksMs, undefined, { signal: stop }).catch(() => undefined)
  }
}

/** What the rotation waits for: a problem of the workflow itself first, then its steps. */
async function awaited(
  link: TemporalLink,
  { store, install }: Keystore,
  { workflowId }: LiveRotation,
): Promise<string[]> {
  const troubleNow = async () =>
    install === null
      ? null
      : await troubleOfRun(link, await readBuilds(link, store, identityOf(install)), workflowId)
  const [steps, trouble] = await Promise.all([awaitedSteps(link, workflowId), troubleNow()])
  return trouble === null ? steps : [waitsFor(trouble), ...steps]
}

function waitsFor({ reason, build, message }: TroubledRun): string {
  return reason === 'build-unserved'
    ? `a worker of build ${build ?? 'unknown'}, and none is alive (build-unserved)`
    : `a worker that can run the workflow: ${message ?? 'one has its task and does not answer'} (task-failing)`
}

/** The current progress; null when it cannot be read. A failure here ends neither the rotation nor its follower. */
async function lookAt(
  link: TemporalLink,
  { store }: Keystore,
  running: LiveRotation,
): Promise<RotationProgress | null> {
  try {
    const [counters, progress] = await Promise.all([
      sumCounters(store, running.rotation),
      queryProgress(link, running.workflowId),
    ])
    if (progress !== null) return { ...progress, ...counters }
    const row = await readRotation(store, running.rotation)
    if (row === null) return null
    return {
      rotation: row._id,
      from: row.from,
      to: row.to,
      phase: row.phase,
      ...(await lastPause(link, running.workflowId)),
      maxRate: 0,
      awaiting: [],
      pausedFor: [],
      total: row.total ?? 0,
      startedAt: row.started_at.toISOString(),
      ...counters,
    }
  } catch {
    return null
  }
}
