import { randomUUID } from 'node:crypto'
import type { InstallInput, PolicyInput } from '../contracts/install.ts'
import type { RemoveInput } from '../contracts/removal.ts'
import type { RotateInput } from '../contracts/rotation.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { readActive } from '../store/kek-active.ts'
import { readVersions } from '../store/kek-versions.ts'
import type { ControlDeps } from './deps.ts'
import { requireIdentity, requireSettings } from './settings.ts'

const actor = 'policy'

export interface ScheduledPlan {
  from: number
  install: InstallInput
  rotate: RotateInput
  /** Null: the old version stays. */
  remove: RemoveInput | null
}

export function policyActivities({ store, config }: ControlDeps) {
  return {
    /** What one run of the policy will do: the number after the highest that ever was, and the host file's way of sweeping. */
    async planScheduledRotation(input: PolicyInput): Promise<ScheduledPlan> {
      const active = await readActive(store)
      if (active === null) throw new KeyturnError('not-installed', 'no key is installed')
      const { removal } = await requireSettings(store)
      const versions = await readVersions(store)
      const to = Math.max(...versions.map((row) => row._id)) + 1
      const install = await requireIdentity(store)
      const { rewrap } = config
      const { provider } = config.kek
      const from = active.version
      const origin = provider === 'env' ? 'environment' : 'generated'
      return {
        from,
        install: {
          install,
          version: to,
          provider,
          origin,
          label: null,
          requestedBy: actor,
        },
        rotate: {
          ...{ install, from, to, rotation: `r-${randomUUID()}`, requestedBy: actor },
          ...{ page: rewrap.page, shards: rewrap.shards, check: rewrap.check },
          ...{ reason: 'scheduled', maxRate: rewrap.maxRate, maxHsmCalls: 0 },
        },
        remove:
          input.removeAfterMs === null
            ? null
            : {
                ...{ install, version: from, request: randomUUID(), requestedBy: actor },
                ...{ destroyHsmKey: false, acceptQuarantine: false, withoutFence: false },
                undoWindowMs: removal.undoWindowMs,
                afterMs: input.removeAfterMs,
              },
      }
    },
  }
}
