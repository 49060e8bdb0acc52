import type { Document } from 'mongodb'
import type { ProcessRole } from '../contracts/fleet.ts'
import { collections } from '../contracts/names.ts'
import type { VersionPlace } from '../contracts/uses.ts'
import type { UseDoc } from './documents.ts'
import { useSchema } from './keystore-schemas.ts'
import { memberAmiss, nameOf } from './own-documents.ts'
import type { Store } from './store.ts'

/** Who uses a version: one process of the fleet. */
export interface UsingProcess {
  node: string
  /** The random id of its start, as in its heartbeat. */
  boot: string
  pid: number
  role: ProcessRole
}

/** Adds uses of a version that is pending removal, one row for each process and place, by the database's clock. */
export async function recordUses(
  store: Store,
  { node, boot, pid, role }: UsingProcess,
  version: number,
  uses: readonly (VersionPlace & { count: number })[],
): Promise<void> {
  await store.db.collection<UseDoc>(collections.uses).bulkWrite(
    uses.map(({ collection, field, count }) => ({
      updateOne: {
        filter: { _id: { version, node, process: boot, collection, field } },
        update: [
          {
            $set: {
              pid: { $literal: pid },
              role: { $literal: role },
              count: { $add: [{ $cond: [{ $isNumber: '$count' }, '$count', 0] }, count] },
              first_at: { $ifNull: ['$first_at', '$$NOW'] },
              last_at: '$$NOW',
            },
          },
        ],
        upsert: true,
      },
    })),
    { ordered: false },
  )
}

/** The uses of a version that are read. More change no decision. */
const mostUses = 1_000

export interface FoundUses {
  /** The newest first. */
  uses: UseDoc[]
  /** Rows that are malformed, of this version or of one that cannot be read, by their `_id` and the member. */
  malformed: string[]
}

/** The recorded uses of a version, as long ago as they may be. Applications in other languages write them too. */
export async function readUses(store: Store, version: number): Promise<FoundUses> {
  const rows = store.db.collection(collections.uses)
  const newest = await rows
    .find({ '_id.version': version } as Document)
    .sort({ last_at: -1 })
    .limit(mostUses)
    .toArray()
  // Rows that sort behind the newest, and those whose version cannot be read.
  const others = await rows
    .find({
      $nor: [wellFormed],
      $or: [{ '_id.version': version }, { '_id.version': { $not: { $type: 'number' } } }],
    } as Document)
    .limit(10)
    .toArray()
  const uses: UseDoc[] = []
  const malformed = new Set<string>()
  for (const row of [...newest, ...others]) {
    const member = memberAmiss(useSchema, row)
    // The schema has just checked its shape.
    if (member === null) uses.push(row as unknown as UseDoc)
    else malformed.add(`${nameOf(row._id)}: ${member}`)
  }
  return { uses: uses.slice(0, mostUses), malformed: [...malformed].slice(0, 10) }
}

/** Recorded uses of all versions, the newest first, without malformed rows. */
export async function readNewestUses(store: Store): Promise<UseDoc[]> {
  const rows = store.db.collection(collections.uses).find().sort({ last_at: -1 }).limit(mostUses)
  const found = await rows.toArray()
  // The filter checks the shape.
  return found.filter((row) => memberAmiss(useSchema, row) === null) as unknown as UseDoc[]
}

/** What MongoDB can say about the shape of a row; the schema says the rest. */
const wellFormed: Document = {
  '_id.version': { $type: 'number' },
  '_id.node': { $type: 'string' },
  '_id.process': { $type: 'string' },
  '_id.collection': { $type: 'string' },
  '_id.field': { $type: 'string' },
  pid: { $type: 'number' },
  role: { $type: 'string' },
  count: { $type: 'number' },
  first_at: { $type: 'date' },
  last_at: { $type: 'date' },
}
