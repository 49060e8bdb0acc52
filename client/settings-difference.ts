import canonicalize from 'canonicalize'
import { formatDuration } from '../config/duration.ts'
import {
  defaultProveMs,
  noApprovals,
  type Approver,
  type CollectionConfig,
  type FleetSettings,
} from '../contracts/settings.ts'
import { keyFingerprint } from '../store/key-fingerprint.ts'

/** Names of the settings as `keyturn.yaml` writes them. */
const names = {
  heartbeatMs: 'fleet.heartbeat',
  leaseMs: 'fleet.lease',
  expireMs: 'fleet.expire',
  proveMs: 'fleet.prove',
  backupWindowMs: 'removal.backup_window',
  undoWindowMs: 'removal.undo_window',
  remove: 'approvals.remove',
  rotate: 'approvals.rotate',
  settings: 'approvals.settings',
  store: 'approvals.store',
  expiresMs: 'approvals.expires',
  approvers: 'approvals.approvers',
} as const

/** A line for each setting that differs, named as in the file: `fleet.lease: 90s → 60s`. */
export function settingsDifference(recorded: FleetSettings, wanted: FleetSettings): string[] {
  const before: Record<string, unknown> = valuesOf(recorded)
  const after: Record<string, unknown> = valuesOf(wanted)
  const values = Object.entries(names)
    .map(([key, name]) => ({ name, from: spell(key, before[key]), to: spell(key, after[key]) }))
    .filter(({ from, to }) => from !== to)
    .map(({ name, from, to }) => `${name}: ${from} → ${to}`)
  const dropped = fieldsOf(droppedFields(recorded, wanted)).map(
    (field) => `collections: − ${field}`,
  )
  const added = fieldsOf(droppedFields(wanted, recorded)).map((field) => `collections: + ${field}`)
  const relaid = fieldsOf(relaidFields(recorded, wanted)).map(
    (field) => `collections: ${field} has another layout`,
  )
  return [...values, ...dropped, ...added, ...relaid]
}

/** The recorded values, and the defaults of those that the record leaves out. */
function valuesOf(settings: FleetSettings): Record<string, unknown> {
  const { fleet, removal, approvals = noApprovals } = settings
  const approvers = approvals.approvers.map(nameOf)
  return { proveMs: defaultProveMs, ...fleet, ...removal, ...approvals, approvers }
}

/** An approver's name, and the fingerprint of the key as `ssh-keygen -l` shows it. */
function nameOf({ name, key }: Approver): string {
  return `${name} ${keyFingerprint(key)}`
}

/** The fields that `recorded` has and `wanted` has not. */
export function droppedFields(recorded: FleetSettings, wanted: FleetSettings): CollectionConfig[] {
  const kept = new Set(fieldsOf(wanted.collections))
  return recorded.collections
    .map((collection) => ({
      ...collection,
      envelopes: collection.envelopes.filter((field) => !kept.has(`${collection.name}.${field}`)),
    }))
    .filter(({ envelopes }) => envelopes.length > 0)
}

/** The fields whose layout changed, as they are recorded. */
export function relaidFields(recorded: FleetSettings, wanted: FleetSettings): CollectionConfig[] {
  return recorded.collections.map((collection) => {
    const { name, envelopes } = collection
    const after = wanted.collections.find((other) => other.name === name)
    const changed = (field: string) =>
      after?.envelopes.includes(field) === true &&
      canonicalize(layoutOf(collection, field)) !== canonicalize(layoutOf(after, field))
    return { ...collection, envelopes: envelopes.filter(changed) }
  })
}

function layoutOf({ layouts = [] }: CollectionConfig, field: string) {
  return layouts.find((each) => each.field === field)?.layout ?? null
}

function fieldsOf(collections: readonly CollectionConfig[]): string[] {
  return collections.flatMap(({ name, envelopes }) => envelopes.map((field) => `${name}.${field}`))
}

function spell(key: string, value: unknown): string {
  if (key.endsWith('Ms') && typeof value === 'number') return formatDuration(value)
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
}
