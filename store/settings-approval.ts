import canonicalize from 'canonicalize'
import type { ApprovalSubject } from '../contracts/approvals.ts'
import { noApprovals, type FleetSettings } from '../contracts/settings.ts'
import { settingsHash } from './settings-hash.ts'

/**
 * What a change of the recorded settings needs approvals for; null if it needs none. `approvals`, `removal`, and every
 * recorded field or collection that goes, also one that another collection has replaced. `changes` are for the eye.
 */
export function settingsSubject(
  recorded: FleetSettings,
  wanted: FleetSettings,
  changes: readonly string[],
): ApprovalSubject | null {
  const isGuarded =
    differs(recorded.removal, wanted.removal) ||
    differs(recorded.approvals ?? noApprovals, wanted.approvals ?? noApprovals) ||
    losesFields(recorded, wanted) ||
    replacedCollections(recorded, wanted).length > 0
  if (!isGuarded) return null
  const from = settingsHash(recorded).toString('hex')
  const to = settingsHash(wanted).toString('hex')
  const replaced = replacedCollections(recorded, wanted)
  return { action: 'settings', subject: 'settings', options: { changes, from, replaced, to } }
}

/** Collections that have another UUID; the settings' hash does not cover it. */
function replacedCollections(recorded: FleetSettings, wanted: FleetSettings) {
  return recorded.collections.flatMap(({ name, uuid: from }) => {
    const to = wanted.collections.find((other) => other.name === name)?.uuid
    return from === undefined || to === undefined || from === to ? [] : [{ name, from, to }]
  })
}

function losesFields(recorded: FleetSettings, wanted: FleetSettings): boolean {
  return recorded.collections.some(({ name, envelopes }) => {
    const after = wanted.collections.find((other) => other.name === name)
    return envelopes.some((field) => after?.envelopes.includes(field) !== true)
  })
}

function differs(one: object, other: object): boolean {
  return canonicalize(one) !== canonicalize(other)
}
