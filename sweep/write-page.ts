import { wrapDigest } from '../envelope/wrap-digest.ts'
import { noCounters, type Counters } from '../contracts/rotation.ts'
import { commitPage } from '../store/page-transaction.ts'
import type { Fault } from './classify-page.ts'
import type { RewrapContext } from './rewrap-context.ts'
import { stuckEntries } from './stuck-entries.ts'
import type { WrappedPage } from './wrap-pages.ts'

/**
 * Stage 3: writes a page in one transaction; in the tail, a second one quarantines what no update can match. Returns the
 * counts, or null when the attempt was replaced.
 */
export async function writePage(
  context: RewrapContext,
  page: WrappedPage,
): Promise<Counters | null> {
  if (!context.options.tail) return await write(context, page, page.last)
  const written = await write(context, page, false)
  if (written === null) return null
  const stuck = await writeStuck(context, page, written.superseded)
  return stuck === null ? null : sum(written, stuck)
}

async function write(
  context: RewrapContext,
  page: WrappedPage,
  closes: boolean,
): Promise<Counters | null> {
  const { store, rotation, range, from, to, provider, lease } = context.options
  const { collection, layout, attempt, session } = context
  const result = await commitPage(store, session, {
    rotation,
    range,
    attempt,
    collection,
    layout,
    oldCursor: page.oldCursor,
    newCursor: page.cursor,
    from,
    to,
    provider: provider.name,
    updates: page.wraps.map(({ entry, ...wrap }) => ({ id: entry.id, ...wrap })),
    quarantine: page.faulty.map(({ entry, fault }) => {
      return { id: entry.id, digest: wrapDigest(entry.wrap), ...fault }
    }),
    counters: { hsmCalls: page.hsmCalls },
    leaseCheck: () => lease.assertLease(),
    closes,
  })
  if (result.kind !== 'committed') return null
  const { rewrapped, superseded, quarantined } = result
  return { rewrapped, superseded, quarantined, hsmCalls: page.hsmCalls }
}

/**
 * Quarantines envelopes that were read, did not match and are still unchanged: their `_id` cannot be used in a filter.
 * Closes the range after its last page.
 */
async function writeStuck(
  context: RewrapContext,
  page: WrappedPage,
  superseded: number,
): Promise<Counters | null> {
  const stuck = superseded === 0 ? [] : await stuckEntries(context, page)
  if (stuck.length === 0 && !page.last) return noCounters
  const fault: Fault = {
    code: 'id-unsupported',
    message: 'no filter finds the record by its _id, though it is unchanged',
  }
  const faulty = stuck.map((entry) => ({ entry, fault }))
  const second = { ...page, wraps: [], faulty, hsmCalls: 0, oldCursor: page.cursor }
  return await write(context, second, page.last)
}

/** Adds two sets of counters. */
export function sum(one: Counters, other: Counters): Counters {
  return {
    rewrapped: one.rewrapped + other.rewrapped,
    superseded: one.superseded + other.superseded,
    quarantined: one.quarantined + other.quarantined,
    hsmCalls: one.hsmCalls + other.hsmCalls,
  }
}
