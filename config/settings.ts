import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { defaultProveMs, type Config, type FleetSettings } from '../contracts/settings.ts'
import { deepFreeze } from './freeze.ts'

const dayMs = 86_400_000

/**
 * The settings that `setup` records and whose hash every heartbeat carries. Lists whose order does not matter are sorted,
 * so that hosts may write them in different orders. A setting that a later release added is left out at its default.
 */
export function settingsOf(
  config: Pick<Config, 'collections' | 'fleet' | 'removal'>,
): FleetSettings {
  const { heartbeatMs, leaseMs, expireMs, proveMs } = config.fleet
  const { backupWindowMs, undoWindowMs, approvalsRequired, approvers } = config.removal
  return deepFreeze<FleetSettings>({
    collections: config.collections
      .map(({ name, envelopes, layouts = [] }) => ({
        name,
        envelopes: [...envelopes].sort(),
        ...(layouts.length === 0 ? {} : { layouts: [...layouts].sort(byField) }),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    fleet: { heartbeatMs, leaseMs, expireMs, ...(proveMs === defaultProveMs ? {} : { proveMs }) },
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

/** The defaults of `keyturn.yaml`; `test/config/settings.test.ts` compares them with the schema. */
const defaults: Pick<FleetSettings, 'fleet' | 'removal'> = {
  fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000 },
  removal: {
    backupWindowMs: 30 * dayMs,
    undoWindowMs: dayMs,
    approvalsRequired: 0,
    approvers: [],
  },
}

/**
 * SHA-256 (32 bytes) over the canonical JSON (RFC 8785) of the settings in a file. Members at their defaults are left out,
 * so that a setting added by a later release does not change the hash; so is what `setup` recorded itself.
 */
export function settingsHash(settings: FleetSettings): Buffer {
  const canonical = canonicalize({
    collections: settings.collections.map((each) => ({ ...each, uuid: undefined })),
    ...changedSettings('fleet', settings.fleet, defaults.fleet),
    ...changedSettings('removal', settings.removal, defaults.removal),
  })
  if (canonical === undefined) throw new TypeError('settings are no JSON')
  return createHash('sha256').update(canonical, 'utf8').digest()
}

/** The members of a section that are not at their defaults, under the section's name; empty when all are. */
function changedSettings(name: string, section: object, standard: object): object {
  const usual = new Map<string, unknown>(Object.entries(standard))
  const changed = Object.entries(section).filter(
    ([key, value]) => canonicalize(value) !== canonicalize(usual.get(key)),
  )
  return changed.length === 0 ? {} : { [name]: Object.fromEntries(changed) }
}
