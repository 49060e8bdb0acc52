import { formatDuration } from '../config/duration.ts'
import type { CollectionConfig, FleetSettings } from '../contracts/settings.ts'

/** Names of the settings as `keyturn.yaml` writes them. */
const names = {
  heartbeatMs: 'fleet.heartbeat',
  leaseMs: 'fleet.lease',
  expireMs: 'fleet.expire',
  backupWindowMs: 'removal.backup_window',
  undoWindowMs: 'removal.undo_window',
  approvalsRequired: 'removal.approvals_required',
  approvers: 'removal.approvers',
} as const

/** A line for each setting that differs, in the words of the file: `fleet.lease: 90s → 60s`. */
export function settingsDifference(recorded: FleetSettings, wanted: FleetSettings): string[] {
  const before: Record<string, unknown> = { ...recorded.fleet, ...recorded.removal }
  const after: Record<string, unknown> = { ...wanted.fleet, ...wanted.removal }
  const values = Object.entries(names)
    .map(([key, name]) => ({ name, from: spell(key, before[key]), to: spell(key, after[key]) }))
    .filter(({ from, to }) => from !== to)
    .map(({ name, from, to }) => `${name}: ${from} → ${to}`)
  const dropped = fieldsOf(droppedFields(recorded, wanted)).map(
    (field) => `collections: − ${field}`,
  )
  const added = fieldsOf(droppedFields(wanted, recorded)).map((field) => `collections: + ${field}`)
  return [...values, ...dropped, ...added]
}

/** The fields that `recorded` has and `wanted` has not. */
export function droppedFields(recorded: FleetSettings, wanted: FleetSettings): CollectionConfig[] {
  const kept = new Set(fieldsOf(wanted.collections))
  return recorded.collections
    .map(({ name, envelopes }) => ({
      name,
      envelopes: envelopes.filter((field) => !kept.has(`${name}.${field}`)),
    }))
    .filter(({ envelopes }) => envelopes.length > 0)
}

function fieldsOf(collections: readonly CollectionConfig[]): string[] {
  return collections.flatMap(({ name, envelopes }) => envelopes.map((field) => `${name}.${field}`))
}

function spell(key: string, value: unknown): string {
  if (key.endsWith('Ms') && typeof value === 'number') return formatDuration(value)
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value)
}
