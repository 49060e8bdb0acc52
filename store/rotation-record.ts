import { clipped } from '../contracts/clipped.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import type { VersionCounts } from './census.ts'
import type { HeartbeatDoc, RotationDoc } from './documents.ts'
import { fieldsOf } from './field-census.ts'
import { keystore } from './keystore.ts'
import { malformed, memberAmiss } from './own-documents.ts'
import {
  recordSchema,
  type RecordDoc,
  type RecordedField,
  type RecordedFleet,
  type RecordedReason,
} from './record-schema.ts'
import { collections as names } from '../contracts/names.ts'
import { countOr } from './stored-counts.ts'
import type { Store } from './store.ts'

/** Makes and reads the record that a rotation's row keeps for its report. */

/** The rest of the fields is summed in one more entry, with null for its names. */
const mostFields = 1_000
const mostProcesses = 2_000
const mostReasons = 200
/** Limit of a name or a message in characters. */
const longest = 300

type Versions = Pick<RotationDoc, 'from' | 'to'>

/** The record of a row; empty if it has none. Throws document-malformed. */
export function recordOf(row: RotationDoc): RecordDoc {
  const member = memberAmiss(recordSchema, row)
  if (member !== null) throw malformed(names.rotations, row._id, member)
  return row.record ?? {}
}

/** The census for a record. */
export function recordedFields(
  counts: Pick<VersionCounts, 'byField' | 'oddByField'>,
  collections: readonly CollectionConfig[],
  { from, to }: Versions,
): RecordedField[] {
  const fields = fieldsOf(collections).map(({ collection, field }) => ({
    collection,
    field,
    ...{ from: 0, to: 0, other: 0, odd: 0 },
  }))
  const at = new Map(fields.map((each) => [JSON.stringify([each.collection, each.field]), each]))
  const of = (each: { collection: string; field: string }) =>
    at.get(JSON.stringify([each.collection, each.field]))
  for (const each of counts.byField) {
    const member = each.version === from ? 'from' : each.version === to ? 'to' : 'other'
    const counted = of(each)
    if (counted !== undefined) counted[member] += each.envelopes
  }
  for (const each of counts.oddByField) {
    const counted = of(each)
    if (counted !== undefined) counted.odd += each.envelopes
  }
  const kept = fields.slice(0, mostFields).map((each) => ({
    ...each,
    collection: clipped(each.collection, longest),
    field: clipped(each.field, longest),
  }))
  const rest = fields.slice(mostFields)
  return rest.length === 0 ? kept : [...kept, summed(rest)]
}

function summed(fields: readonly RecordedField[]): RecordedField {
  const sum = { collection: null, field: null, from: 0, to: 0, other: 0, odd: 0 }
  for (const { from, to, other, odd } of fields) {
    sum.from += from
    sum.to += to
    sum.other += other
    sum.odd += odd
  }
  return sum
}

/** The fleet for a record; `now` is the database's clock at the reading. */
export function recordedFleet(
  heartbeats: readonly HeartbeatDoc[],
  { from, to }: Versions,
  now: Date,
): RecordedFleet {
  const processes = heartbeats.slice(0, mostProcesses).map((one) => ({
    node: one.node,
    pid: one.pid,
    role: one.role,
    live: one.malformed !== undefined || one.lease_until >= now,
    current: one.current,
    epoch: one.epoch,
    loaded: [from, to].filter((each) => one.loaded.some(({ version }) => version === each)),
    software: one.software ?? null,
  }))
  return { at: now, processes, more: heartbeats.length - processes.length }
}

/** Envelopes of a version in quarantine, and odd ones, by their reasons; the most frequent first. */
export async function quarantineReasons(store: Store, version: number): Promise<RecordedReason[]> {
  const asText = (member: string) => ({
    $cond: [{ $eq: [{ $type: member }, 'string'] }, { $substrCP: [member, 0, longest] }, ''],
  })
  return await keystore
    .quarantine(store)
    .aggregate<RecordedReason>([
      { $match: { kek_version: { $in: [version, null] } } },
      {
        $group: {
          _id: {
            collection: asText('$_id.collection'),
            field: asText('$_id.field'),
            code: asText('$code'),
          },
          message: { $min: asText('$message') },
          envelopes: { $sum: countOr('$count', 1) },
        },
      },
      { $sort: { envelopes: -1, _id: 1 } },
      { $limit: mostReasons },
      {
        $replaceWith: { $mergeObjects: ['$_id', { message: '$message', envelopes: '$envelopes' }] },
      },
    ])
    .toArray()
}
