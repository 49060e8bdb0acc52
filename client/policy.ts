import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  type ScheduleHandle,
  type ScheduleOptions,
} from '@temporalio/client'
import { defineSearchAttributeKey } from '@temporalio/common'
import { KeyturnError } from '../contracts/errors.ts'
import type { PolicyInput } from '../contracts/install.ts'
import {
  queues,
  searchAttributes,
  workflowIds,
  workflowTypes,
  type InstallIdentity,
} from '../contracts/names.ts'
import type { Config } from '../contracts/settings.ts'
import type { PolicyView } from '../contracts/views.ts'
import {
  requireInstalled,
  requireOriginal,
  requireSetUp,
  withKeystore,
  withOwnKeystore,
  type Keystore,
} from './keystore.ts'
import { recordAudit } from '../store/audit-outbox.ts'
import { readActive } from '../store/kek-active.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { withTemporal, type TemporalLink } from './temporal/connection.ts'
import { requester } from './temporal/names.ts'
import { firstRun, policyView } from './policy-times.ts'

/** Temporal starts a run late by at most this, if it was down when the run was due. */
const catchUp = '6 hours'

export interface PolicyRequest {
  everyMs: number
  /** After midnight UTC. Null: 03:00; for periods that are not whole days, the run time counts from now. */
  atMs: number | null
  removeAfterMs: number | null
  /** The limit of each of its rotations; 0: no limit. */
  maxHsmCalls: number
}

/** Sets or replaces the policy. The first run is one period after the active version became active. */
export async function setPolicy(config: Config, request: PolicyRequest): Promise<PolicyView> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireInstalled(keystore, config)
    const active = await readActive(keystore.store)
    const first = firstRun({ ...request, since: active?.at ?? new Date(), now: new Date() })
    return withTemporal(config, async (link) => {
      const task = await insertTask(keystore.store, { kind: 'policy', by: requester() })
      await put(link, scheduleOf({ install, task }, request, first))
      await recordAudit(keystore.store, {
        actor: requester(),
        action: 'policy-set',
        subject: 'policy',
        details: { ...request },
      })
      return described(handleOf(link, install))
    })
  })
}

/** The policy. Throws policy-missing. */
export async function showPolicy(config: Config): Promise<PolicyView> {
  return withSchedule(config, (handle) => described(handle))
}

export async function steerPolicy(
  config: Config,
  action: 'pause' | 'resume' | 'run',
): Promise<PolicyView> {
  return withSchedule(config, async (handle, keystore) => {
    requireOriginal(keystore, config)
    await orMissing(async () => {
      if (action === 'pause') await handle.pause(`paused by ${requester()}`)
      else if (action === 'resume') await handle.unpause(`resumed by ${requester()}`)
      else await handle.trigger(ScheduleOverlapPolicy.SKIP)
    })
    const done = action === 'pause' ? 'paused' : action === 'resume' ? 'resumed' : 'run'
    await recordAudit(keystore.store, {
      actor: requester(),
      action: `policy-${done}`,
      subject: 'policy',
      details: {},
    })
    return described(handle)
  })
}

export async function deletePolicy(config: Config): Promise<void> {
  await withSchedule(config, async (handle, keystore) => {
    requireOriginal(keystore, config)
    await orMissing(() => handle.delete())
    const entry = { actor: requester(), action: 'policy-deleted', subject: 'policy', details: {} }
    await recordAudit(keystore.store, entry)
  })
}

/** The policy, or null where none is set. */
export async function policyOrNull(
  link: TemporalLink,
  install: InstallIdentity,
): Promise<PolicyView | null> {
  try {
    return await described(handleOf(link, install))
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'policy-missing') return null
    throw error
  }
}

function scheduleOf(
  { install, task }: { install: InstallIdentity; task: string },
  request: PolicyRequest,
  first: Date,
): ScheduleOptions {
  const { removeAfterMs, everyMs, maxHsmCalls } = request
  const input: PolicyInput = { install, task, removeAfterMs, maxHsmCalls }
  return {
    scheduleId: workflowIds.policy(install),
    // Without `startAt` the interval would also run before the first run is due.
    spec: {
      intervals: [{ every: everyMs, offset: first.getTime() % everyMs }],
      startAt: first,
    },
    action: {
      type: 'startWorkflow',
      workflowType: workflowTypes.policy,
      workflowId: workflowIds.policy(install),
      taskQueue: queues.control(install),
      args: [input],
      typedSearchAttributes: [
        { key: defineSearchAttributeKey(searchAttributes.install, 'KEYWORD'), value: install.name },
      ],
    },
    policies: {
      overlap: ScheduleOverlapPolicy.SKIP,
      catchupWindow: catchUp,
      pauseOnFailure: true,
    },
    memo: { everyMs, removeAfterMs, maxHsmCalls },
  }
}

/** A Schedule's memo cannot be updated, so an existing policy is deleted first. */
async function put(link: TemporalLink, options: ScheduleOptions): Promise<void> {
  const { schedule } = link.client
  try {
    await schedule.create(options)
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error
    await schedule.getHandle(options.scheduleId).delete()
    await schedule.create(options)
  }
}

/** Calls `use` with the Schedule of this keystore. */
async function withSchedule<T>(
  config: Config,
  use: (handle: ScheduleHandle, keystore: Keystore) => Promise<T>,
): Promise<T> {
  return withKeystore(config, async (keystore) => {
    const install = requireSetUp(keystore, config)
    return withTemporal(config, (link) => use(handleOf(link, install), keystore))
  })
}

function handleOf(link: TemporalLink, install: InstallIdentity): ScheduleHandle {
  return link.client.schedule.getHandle(workflowIds.policy(install))
}

async function described(handle: ScheduleHandle): Promise<PolicyView> {
  return policyView(await orMissing(() => handle.describe()))
}

async function orMissing<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error
    throw new KeyturnError('policy-missing', 'no policy is set', {
      hint: 'set one: keyturn policy set --every 90d',
    })
  }
}
