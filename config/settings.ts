import {
  defaultProveMs,
  noApprovals,
  type ApprovalRules,
  type Config,
  type FleetSettings,
} from '../contracts/settings.ts'
import { deepFreeze } from './freeze.ts'

/**
 * The settings that `setup` records and whose hash every heartbeat carries. Lists whose order does not matter are sorted,
 * so that hosts may write them in different orders. A setting that a later release added is left out at its default.
 */
export function settingsOf(
  config: Pick<Config, 'collections' | 'fleet' | 'removal' | 'approvals'>,
): FleetSettings {
  const { heartbeatMs, leaseMs, expireMs, proveMs } = config.fleet
  const { backupWindowMs, undoWindowMs } = config.removal
  return deepFreeze<FleetSettings>({
    collections: config.collections
      .map(({ name, envelopes, layouts = [] }) => ({
        name,
        envelopes: [...envelopes].sort(),
        ...(layouts.length === 0 ? {} : { layouts: [...layouts].sort(byField) }),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    fleet: { heartbeatMs, leaseMs, expireMs, ...(proveMs === defaultProveMs ? {} : { proveMs }) },
    removal: { backupWindowMs, undoWindowMs },
    ...(isDefault(config.approvals) ? {} : { approvals: sorted(config.approvals) }),
  })
}

function isDefault({ approvers, remove, rotate, settings, store, expiresMs }: ApprovalRules) {
  const isNeeded = remove + rotate + settings + store > 0
  return approvers.length === 0 && !isNeeded && expiresMs === noApprovals.expiresMs
}

function sorted(approvals: ApprovalRules): ApprovalRules {
  const approvers = [...approvals.approvers].sort((a, b) => (a.name < b.name ? -1 : 1))
  return { ...approvals, approvers }
}

function byField(one: { field: string }, other: { field: string }): number {
  return one.field < other.field ? -1 : 1
}
