import { exitCodes, KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import { workflowIds, type InstallIdentity } from '../contracts/names.ts'
import type { Priority, RotateInput, RotateResult, RotationOutcome } from '../contracts/rotation.ts'
import type { Config } from '../contracts/settings.ts'
import { rotationSubject } from '../store/rotation-approval.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { requireApproval } from './approvals/require.ts'
import { requireInstalled, withOwnKeystore, type Keystore } from './keystore.ts'
import { headOrNote } from './audit/head.ts'
import { requireWorker } from './views/workers.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { requirePollers } from './temporal/pollers.ts'
import { fromReport } from './temporal/failures.ts'
import { followRotation, type Follower } from './follow.ts'
import { newRotationId, requester } from './temporal/names.ts'
import { requireTwoVersions } from '../protocol/rotation-route.ts'
import { routeOf } from './rotation-route.ts'
import { endUnserved } from './temporal/troubled-runs.ts'
import { liveRotation, type LiveRotation } from './temporal/live-rotation.ts'
import { startAlone } from './temporal/start.ts'

export interface RotateRequest {
  from: number | null
  to: number
  reason: string
  maxRate: number
  maxHsmCalls: number
  priority?: Priority
  /** True: return as soon as the rotation is started. */
  detach: boolean
}

/** The shape of `rotate --json`. */
export interface RotationAnswer {
  rotationId: string
  workflowId: string
  runId: string
  from: number
  to: number
  outcome: RotationOutcome
  rewrapped: number
  superseded: number
  quarantined: number
  remaining: number
  hsmCalls: number
  durationSeconds: number
  silent: string[]
  /** Where the audit's chain ends after it; absent before its end, and if it could not be read then. */
  auditHead?: { entries: number; head: string }
}

export interface RotationReply {
  answer: RotationAnswer
  error: KeyturnError | null
}

/**
 * Starts a rotation, or attaches to the one that runs between the same versions, and follows it to its end unless `detach`
 * is set. Throws rotation-running if one runs between other versions, no-worker, and the refusals of the route.
 */
export async function rotate(
  config: Config,
  request: RotateRequest,
  follower: Follower,
): Promise<RotationReply> {
  requireTwoVersions(request)
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    return withTemporal(config, async (link) => {
      const running = await runningOrNew(config, keystore, { link, install }, request, follower)
      if (request.detach) return { answer: startedAnswer(running), error: null }
      const result = await followRotation(link, keystore, running, follower)
      if (result === null) return { answer: startedAnswer(running), error: null }
      const { answer, error } = rotationReply(running, result)
      const head = await headOrNote(keystore.store, install.id, (line) => follower.onNote(line))
      return { answer: { ...answer, ...(head === null ? {} : { auditHead: head }) }, error }
    })
  })
}

async function runningOrNew(
  config: Config,
  keystore: Keystore,
  { link, install }: { link: TemporalLink; install: InstallIdentity },
  request: RotateRequest,
  follower: Follower,
): Promise<LiveRotation> {
  const { store } = keystore
  const running = await liveRotation(link, store, install)
  if (running !== null) {
    const attached = await attach(running, keystore, request, follower)
    // Its build has no worker left. Its progress is in MongoDB, and a new run continues from there.
    if ((await endUnserved(link, store, install, running.workflowId)) === null) return attached
  }
  const { from, to } = await routeOf(keystore, request)
  await requireWorker(store)
  await requirePollers(link, install, ['control', 'rewrap'])
  await requireApproval(
    keystore,
    rotationSubject({ ...request, from, to, check: config.rewrap.check }),
  )
  const rotation = newRotationId()
  const by = requester()
  const { reason, maxRate, maxHsmCalls, priority = 'rotation' } = request
  const details = { from, to, reason, maxRate, maxHsmCalls, priority }
  const entry = { actor: by, action: 'rotation-requested', subject: rotation, details }
  const task = await insertTask(store, { kind: 'rotate', by, entry })
  const start = await startAlone(link, {
    workflow: 'rotate',
    workflowId: workflowIds.rotate(install),
    install,
    input: inputOf(config, request, { install, task, rotation, from, to }),
    summary: `rotation ${rotation}: v${from} to v${to} of ${install.name}`,
    memo: { rotation, from, to },
    rotation,
  })
  if (start !== null) return { ...start, rotation, from, to }
  // Another client started one first.
  const other = await liveRotation(link, store, install)
  if (other !== null) return attach(other, keystore, request, follower)
  throw new KeyturnError('rotation-running', 'another rotation ran when this one was to start', {
    hint: 'look at it with keyturn status, then repeat this command',
  })
}

/** Attaches to a rotation between the same versions; throws rotation-running for other versions. */
async function attach(
  running: LiveRotation,
  { store }: Keystore,
  request: RotateRequest,
  follower: Follower,
): Promise<LiveRotation> {
  const same = running.to === request.to && (request.from ?? running.from) === running.from
  if (!same) {
    throw new KeyturnError(
      'rotation-running',
      `rotation "${running.rotation}" from v${running.from} to v${running.to} is running`,
      { hint: 'follow it with keyturn status --watch, or end it with keyturn cancel' },
    )
  }
  await requireWorker(store)
  follower.onAttach(running)
  return running
}

function inputOf(
  config: Config,
  request: RotateRequest,
  route: Pick<RotateInput, 'install' | 'task' | 'rotation' | 'from' | 'to'>,
): RotateInput {
  const { page, shards: ranges, check } = config.rewrap
  return {
    ...route,
    requestedBy: requester(),
    reason: request.reason,
    maxRate: request.maxRate,
    maxHsmCalls: request.maxHsmCalls,
    page,
    shards: ranges,
    check,
    priority: request.priority ?? 'rotation',
  }
}

function startedAnswer(running: LiveRotation): RotationAnswer {
  const { rotation, workflowId, runId, from, to } = running
  return {
    rotationId: rotation,
    workflowId,
    runId,
    from,
    to,
    outcome: 'started',
    rewrapped: 0,
    superseded: 0,
    quarantined: 0,
    remaining: 0,
    hsmCalls: 0,
    durationSeconds: 0,
    silent: [],
  }
}

/** A result as `rotate` and `cancel` return it. The error's code decides the exit code: 6, 7, or that of the refusal or failure. */
export function rotationReply(running: LiveRotation, result: RotateResult): RotationReply {
  const { rewrapped, superseded, quarantined, hsmCalls, remaining, durationSeconds } = result
  const answer = {
    ...startedAnswer(running),
    outcome: result.outcome,
    rewrapped,
    superseded,
    quarantined,
    remaining,
    hsmCalls,
    durationSeconds,
    silent: result.silent,
  }
  return { answer, error: errorOf(running, result) }
}

function errorOf({ rotation, from, to }: LiveRotation, result: RotateResult): KeyturnError | null {
  const reported = fromReport(result.error, 'rotation-failed')
  switch (result.outcome) {
    case 'completed':
      return null
    case 'completed-with-quarantine':
      return new KeyturnError('quarantined', `envelopes of v${from} are in quarantine`, {
        hint: 'keyturn quarantine list names each with its reason',
      })
    case 'cancelled':
      return new KeyturnError('cancelled', `rotation "${rotation}" was cancelled`, {
        hint: `go on: keyturn rotate --to-version ${to}; go back: keyturn rotate --from-version ${to} --to-version ${from}`,
      })
    case 'refused':
      return reported ?? new KeyturnError('not-ready', `rotation "${rotation}" was refused`)
    case 'failed':
      return new KeyturnError(
        reported !== null && namedEnds.has(reported.code) ? reported.code : 'rotation-failed',
        reported?.message ?? `rotation "${rotation}" failed`,
        {
          hint: reported?.hint ?? `both keys stay: keyturn rotate --to-version ${to} goes on`,
          exitCode: exitCodes['rotation-failed'],
        },
      )
  }
}

/** Failures that keep their own code, since scripts react to them. */
const namedEnds: ReadonlySet<ErrorCode> = new Set([
  'collection-missing',
  'collection-replaced',
  'unsupported-shape',
])
