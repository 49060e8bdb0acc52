import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { noApprovals, type ApprovalRules, type FleetSettings } from '../contracts/settings.ts'

const dayMs = 86_400_000

/** The defaults of `keyturn.yaml`; `test/config/settings.test.ts` compares them with the schema. */
const defaults: Pick<FleetSettings, 'fleet' | 'removal'> = {
  fleet: { heartbeatMs: 30_000, leaseMs: 90_000, expireMs: 120_000 },
  removal: { backupWindowMs: 30 * dayMs, undoWindowMs: dayMs },
}

/**
 * SHA-256 (32 bytes) over the canonical JSON (RFC 8785) of the settings in a file. Members at their defaults are left out,
 * so that a setting added by a later release does not change the hash; so is what `setup` recorded itself.
 */
export function settingsHash(settings: FleetSettings): Buffer {
  const { approvals = noApprovals } = settings
  const canonical = canonicalize({
    collections: settings.collections.map((each) => ({ ...each, uuid: undefined })),
    ...changedSettings('fleet', settings.fleet, defaults.fleet),
    ...changedSettings('removal', settings.removal, defaults.removal),
    ...changedSettings('approvals', approvals, defaultsBeside(approvals)),
  })
  if (canonical === undefined) throw new TypeError('settings are no JSON')
  return createHash('sha256').update(canonical, 'utf8').digest()
}

/** `approvals.settings` is by default the largest of the others. */
function defaultsBeside({ remove, rotate, store }: ApprovalRules): ApprovalRules {
  return { ...noApprovals, settings: Math.max(remove, rotate, store) }
}

/** The members of a section that are not at their defaults, under the section's name; empty when all are, or none is there. */
function changedSettings(name: string, section: object = {}, standard: object): object {
  const usual = new Map<string, unknown>(Object.entries(standard))
  const changed = Object.entries(section).filter(
    ([key, value]) => canonicalize(value) !== canonicalize(usual.get(key)),
  )
  return changed.length === 0 ? {} : { [name]: Object.fromEntries(changed) }
}
