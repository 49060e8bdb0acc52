import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import type { Config, FleetSettings } from '../contracts/settings.ts'
import { deepFreeze } from './freeze.ts'

/**
 * What `setup` records of a configuration and every heartbeat names by its hash. Lists whose order means nothing are
 * sorted, so that two hosts' files may differ in it.
 */
export function settingsOf(
  config: Pick<Config, 'collections' | 'fleet' | 'removal'>,
): FleetSettings {
  const { heartbeatMs, leaseMs, expireMs } = config.fleet
  const { backupWindowMs, undoWindowMs, approvalsRequired, approvers } = config.removal
  return deepFreeze<FleetSettings>({
    collections: config.collections
      .map(({ name, envelopes, layouts = [] }) => ({
        ...{ name, envelopes: [...envelopes].sort() },
        ...(layouts.length === 0 ? {} : { layouts: [...layouts].sort(byField) }),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    fleet: { heartbeatMs, leaseMs, expireMs },
    removal: {
      backupWindowMs,
      undoWindowMs,
      approvalsRequired,
      approvers: [...approvers].sort(),
    },
  })
}

function byField(one: { field: string }, other: { field: string }): number {
  return one.field < other.field ? -1 : 1
}

/** SHA-256 (32 bytes) over the canonical JSON of RFC 8785. */
export function settingsHash(settings: FleetSettings): Buffer {
  const canonical = canonicalize(settings)
  if (canonical === undefined) throw new TypeError('settings are no JSON')
  return createHash('sha256').update(canonical, 'utf8').digest()
}
