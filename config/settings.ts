import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { defaultProveMs, type Config, type FleetSettings } from '../contracts/settings.ts'
import { deepFreeze } from './freeze.ts'

const dayMs = 86_400_000

/**
 * What `setup` records of a configuration and every heartbeat names by its hash. Lists whose order means nothing are
 * sorted, so that two hosts' files may differ in it; what a later program added is left out while it is at its default.
 */
export function settingsOf(
  config: Pick<Config, 'collections' | 'fleet' | 'removal'>,
): FleetSettings {
  const { heartbeatMs, leaseMs, expireMs, proveMs } = config.fleet
  const { backupWindowMs, undoWindowMs, approvalsRequired, approvers } = config.removal
  return deepFreeze<FleetSettings>({
    collections: config.collections
      .map(({ name, envelopes, layouts = [] }) => ({
        ...{ name, envelopes: [...envelopes].sort() },
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

/** What `keyturn.yaml` means where it says nothing; `test/config/settings.test.ts` holds it against the schema. */
const defaults: Pick<FleetSettings, 'fleet' | 'removal'> = {
  fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000 },
  removal: {
    ...{ backupWindowMs: 30 * dayMs, undoWindowMs: dayMs },
    ...{ approvalsRequired: 0, approvers: [] },
  },
}

/**
 * SHA-256 (32 bytes) over the canonical JSON of RFC 8785 of what a file can say: without members at their defaults, so that a
 * setting which a later version adds changes no hash, and without what `setup` recorded besides.
 */
export function settingsHash(settings: FleetSettings): Buffer {
  const canonical = canonicalize({
    collections: settings.collections.map((each) => ({ ...each, uuid: undefined })),
    ...sectionSaid('fleet', settings.fleet, defaults.fleet),
    ...sectionSaid('removal', settings.removal, defaults.removal),
  })
  if (canonical === undefined) throw new TypeError('settings are no JSON')
  return createHash('sha256').update(canonical, 'utf8').digest()
}

/** The members of a section that are not at their defaults, under the section's name; nothing where all are. */
function sectionSaid(name: string, section: object, standard: object): object {
  const usual = new Map<string, unknown>(Object.entries(standard))
  const said = Object.entries(section).filter(
    ([key, value]) => canonicalize(value) !== canonicalize(usual.get(key)),
  )
  return said.length === 0 ? {} : { [name]: Object.fromEntries(said) }
}
