import { randomUUID } from 'node:crypto'
import type { InstallInput } from '../contracts/install.ts'
import type { ProviderName } from '../contracts/kek.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import type { RemoveInput } from '../contracts/removal.ts'
import type { RotateInput } from '../contracts/rotation.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { RotationDoc, VersionDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { readVersions } from '../store/kek-versions.ts'
import { openRemoval } from '../store/removal-requests.ts'
import { runningRotation } from '../store/rotations.ts'
import type { Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { rotationOf } from './own-rotation.ts'
import { requireIdentity } from './settings.ts'

const actor = 'policy'
/** The reason in the rows of a policy's rotations. */
const scheduled = 'scheduled'

export interface PlannedRemoval {
  /** The policy's rotation away from the version. */
  rotation: string
  removeAfterMs: number
}

export interface ScheduledPlan {
  from: number
  install: InstallInput
  rotate: RotateInput
}

export function policyActivities({ store, config }: ControlDeps) {
  return {
    /**
     * Plans one run of the policy: to the version that an earlier run has installed and not used, else to the next unused
     * number; sweep options are from this host's file. Throws rotation-running while a rotation has not ended, even if its
     * workflow is gone: a person must look.
     */
    async planScheduledRotation(input: { maxHsmCalls: number }): Promise<ScheduledPlan> {
      const active = await readActive(store)
      if (active === null) throw new KeyturnError('not-installed', 'no key is installed')
      const unended = await runningRotation(store)
      if (unended !== null) throw notEnded(unended)
      const install = await requireIdentity(store)
      const { provider } = config.kek
      const from = active.version
      const origin = provider === 'env' ? 'environment' : 'generated'
      const to = nextVersion(await readVersions(store), origin)
      return {
        from,
        install: await installInput(store, { install, to, provider, origin }),
        rotate: await rotateInput({ store, config }, { install, from, to, ...input }),
      }
    },

    /**
     * Requests the removal of the version that a policy's rotation has replaced, due after `removeAfterMs`. Null when there is
     * nothing to request: the rotation was not the policy's, has not completed, or the version already has a removal.
     */
    async planRemoval({ rotation, removeAfterMs }: PlannedRemoval): Promise<RemoveInput | null> {
      if (!Number.isSafeInteger(removeAfterMs) || removeAfterMs < 0) {
        throw new KeyturnError('usage', `a removal after "${String(removeAfterMs)}" ms is no time`)
      }
      const row = await rotationOf(store, rotation)
      if (row?.reason !== scheduled || row.outcome?.startsWith('completed') !== true) return null
      const request = `p-${rotation}`
      const there = await openRemoval(store, {
        request,
        version: row.from,
        requestedBy: actor,
        afterMs: removeAfterMs,
        destroyHsmKey: false,
        acceptQuarantine: false,
        withoutFence: false,
      })
      if (there._id !== request) return null
      const task = await insertTask(store, { kind: 'remove', by: actor })
      return { install: await requireIdentity(store), task, version: row.from, request }
    },
  }
}

interface PlannedInstall {
  install: InstallIdentity
  to: number
  provider: ProviderName
  origin: InstallInput['origin']
}

async function installInput(
  store: Store,
  { install, to, provider, origin }: PlannedInstall,
): Promise<InstallInput> {
  return {
    install,
    task: await insertTask(store, { kind: 'install', by: actor }),
    version: to,
    provider,
    origin,
    label: null,
    requestedBy: actor,
  }
}

interface PlannedRotation {
  install: InstallIdentity
  from: number
  to: number
  maxHsmCalls: number
}

async function rotateInput(
  { store, config }: Pick<ControlDeps, 'store' | 'config'>,
  { install, from, to, maxHsmCalls }: PlannedRotation,
): Promise<RotateInput> {
  const { page, shards, check, maxRate } = config.rewrap
  return {
    task: await insertTask(store, { kind: 'rotate', by: actor }),
    install,
    from,
    to,
    rotation: `r-${randomUUID()}`,
    requestedBy: actor,
    page,
    shards,
    check,
    reason: scheduled,
    maxRate,
    maxHsmCalls,
  }
}

/** An interrupted run may have installed a version, or started to, that was never active: it is used first. */
function nextVersion(rows: readonly VersionDoc[], origin: VersionDoc['origin']): number {
  const highest = rows.reduce((one, other) => (other._id > one._id ? other : one))
  const { activated_at, destroyed_at, removal } = highest
  const isUnused = activated_at === null && destroyed_at === null && removal === null
  return isUnused && highest.origin === origin ? highest._id : highest._id + 1
}

function notEnded({ _id, to }: RotationDoc): KeyturnError {
  return new KeyturnError('rotation-running', `rotation "${_id}" has not ended`, {
    hint: `keyturn status shows it; keyturn rotate --to-version ${to} goes on with it`,
  })
}
