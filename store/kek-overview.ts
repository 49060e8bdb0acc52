import { z } from 'zod'
import type { DatedOverview, Overview } from '../contracts/overview.ts'
import { keystore } from './keystore.ts'
import { literals } from './literals.ts'
import { isDuplicateKey } from './server-errors.ts'
import type { Store } from './store.ts'

/**
 * The overview that all workers show. It is not checked member by member: it decides nothing, and one with another shape is
 * taken anew.
 */

/** A worker that ended while it took the overview holds others up for this long, in milliseconds. */
const claimMs = 300_000
/** A `next_at` that is further away was not written by a worker, in milliseconds. */
const furthestMs = 24 * 3_600_000

/**
 * True for one worker at a time, and only when the last overview is old enough: it takes the next one. `claim`: random, for
 * `writeOverview`.
 */
export async function claimOverview(store: Store, claim: string): Promise<boolean> {
  const isClaimed = {
    $and: [
      { $eq: [{ $type: '$next_at' }, 'date'] },
      { $gt: ['$next_at', '$$NOW'] },
      { $lt: ['$next_at', { $add: ['$$NOW', furthestMs] }] },
    ],
  }
  const claimed = [{ $set: { claim: { $literal: claim }, next_at: { $add: ['$$NOW', claimMs] } } }]
  const rows = keystore.overview(store)
  const due = { _id: 'overview' as const, $expr: { $not: [isClaimed] } }
  if ((await rows.updateOne(due, claimed)).matchedCount === 1) return true
  try {
    // The first one. An upsert may not have $expr.
    await rows.updateOne({ _id: 'overview', claim: { $exists: false } }, claimed, { upsert: true })
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  return (await rows.findOne({ _id: 'overview', claim }, { projection: { _id: 1 } })) !== null
}

/** Writes it, unless another worker has claimed it since. The next one may be taken `pauseMs` after now. */
export async function writeOverview(
  store: Store,
  claim: string,
  { asOf, pauseMs, overview }: { asOf: Date; pauseMs: number; overview: Overview },
): Promise<void> {
  await keystore
    .overview(store)
    .updateOne({ _id: 'overview', claim }, [
      { $set: { ...literals({ as_of: asOf, overview }), next_at: { $add: ['$$NOW', pauseMs] } } },
    ])
}

/** After a failure: the next one may be taken `pauseMs` after now. */
export async function postponeOverview(
  store: Store,
  claim: string,
  pauseMs: number,
): Promise<void> {
  await keystore
    .overview(store)
    .updateOne({ _id: 'overview', claim }, [{ $set: { next_at: { $add: ['$$NOW', pauseMs] } } }])
}

/** The last one; null before the first, and while it has another shape. */
export async function readOverview(store: Store): Promise<DatedOverview | null> {
  const row = await keystore.overview(store).findOne({ _id: 'overview' })
  const { success, data } = overviewSchema.safeParse(row)
  if (!success) return null
  return { ...(data.overview as Overview), asOf: data.as_of.toISOString() }
}

const count = z.number()
const text = z.string().max(10_000)
const list = <T extends z.ZodRawShape>(shape: T) => z.array(z.looseObject(shape)).max(1_000)

const overviewSchema = z.looseObject({
  as_of: z.date(),
  overview: z.looseObject({
    active: z.looseObject({ version: count, epoch: count, since: text }).nullable(),
    versions: list({
      version: count,
      state: text,
      envelopes: count,
      wraps: count.nullable(),
      activatedAt: text.nullable(),
      removalDueAt: text.nullable(),
      failingGuards: z.array(text).max(100),
    }),
    census: list({ collection: text, version: count, envelopes: count }),
    odd: list({ collection: text, envelopes: count }),
    quarantined: count,
    requestsOpen: count,
    rotation: z
      .looseObject({
        id: text,
        from: count,
        to: count,
        phase: text,
        startedAt: text,
        total: count.nullable(),
        rewrapped: count,
        superseded: count,
        quarantined: count,
      })
      .nullable(),
    lastRotation: z
      .looseObject({ id: text, from: count, to: count, outcome: text, endedAt: text })
      .nullable(),
    lastCompletedAt: text.nullable(),
    fleet: z.looseObject({ live: count, degraded: count, silent: count, missing: count }),
    processes: list({
      node: text,
      role: text.nullable(),
      pid: count.nullable(),
      state: text,
      version: count.nullable(),
      heartbeatAgeSeconds: count.nullable(),
    }),
  }),
})
