import { layoutIn } from '../envelope/layout.ts'
import { sortedOut } from './collections.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { QuarantineDoc, QuarantineId } from './documents.ts'
import { readSettings } from './kek-settings.ts'
import { keystore } from './keystore.ts'
import { clearOddRows } from './odd-envelopes.ts'
import { readQuarantine, areUnchanged } from './quarantined-bytes.ts'
import { malformedRow } from './quarantine-documents.ts'
import { countOr } from './stored-counts.ts'
import type { Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Oldest first; of one version, if given. */
export async function listQuarantine(
  store: Store,
  version?: number | null,
): Promise<QuarantineDoc[]> {
  const rows = await readQuarantine(store, filterOf(version))
  return rows.map(({ doc }) => doc)
}

/** How many envelopes are in quarantine; of one version, if given, or with `null` the odd ones. */
export async function countQuarantine(store: Store, version?: number | null): Promise<number> {
  const [sum] = await keystore
    .quarantine(store)
    .aggregate<{ envelopes: number }>([
      { $match: filterOf(version) },
      { $group: { _id: null, envelopes: { $sum: countOr('$count', 1) } } },
    ])
    .toArray()
  return sum?.envelopes ?? 0
}

/**
 * Deletes the row and leaves the envelope (`quarantine release`, or after a successful retry). `id` as `listQuarantine`
 * gives it. With `digest`, only the row of exactly these bytes. False when there is no such row.
 */
export async function clearQuarantine(
  store: Store,
  { collection, id, field }: QuarantineId,
  digest?: QuarantineDoc['digest'],
): Promise<boolean> {
  const { deletedCount } = await keystore
    .quarantine(store)
    .deleteOne({ _id: { collection, id, field }, ...(digest === undefined ? {} : { digest }) })
  return deletedCount === 1
}

/** Deletes exactly the row that was read, even a malformed one, and records the entry. False when there is no such row. */
export async function releaseRow(
  store: Store,
  row: QuarantineDoc,
  entry: AuditEntry,
): Promise<boolean> {
  return inTransaction(store, async (session) => {
    const filter =
      row.malformed === undefined
        ? { _id: row._id, digest: row.digest }
        : { _id: { $eq: row.malformed.id as QuarantineId } }
    const { deletedCount } = await keystore.quarantine(store).deleteOne(filter, { session })
    if (deletedCount === 1) await recordAudit(store, entry, session)
    return deletedCount === 1
  })
}

/**
 * Checks each quarantined envelope again, and deletes the rows of those that were repaired, rewritten, restored or deleted.
 * Rows of a lost collection stay: its envelopes were not deleted on purpose. Returns how many rows were deleted.
 */
export async function recheckQuarantine(store: Store, version?: number | null): Promise<number> {
  const collections = (await readSettings(store))?.settings.collections ?? []
  const found = await readQuarantine(store, filterOf(version))
  const { isLost } = await sortedOut(store, collections)
  const rows = found.filter(({ doc }) => !isLost(doc._id.collection))
  const unchanged = await areUnchanged(store, rows)
  const odd = new Map<string, { collection: string; field: string }>()
  let cleared = 0
  for (const [index, { doc }] of rows.entries()) {
    const { collection, field } = doc._id
    // The envelope of a malformed row cannot be looked up: `quarantine release` deletes the row.
    if (doc.code === malformedRow) continue
    if (doc.kek_version === null)
      odd.set(JSON.stringify([collection, field]), { collection, field })
    else if (unchanged[index] !== true) {
      // Filtered by the digest that was checked: a sweep may have rewritten the row meanwhile.
      if (await clearQuarantine(store, doc._id, doc.digest)) cleared += 1
    }
  }
  for (const { collection, field } of odd.values()) {
    const layout = layoutIn(collections, collection, field)
    cleared += await clearOddRows(store, { collection, field, layout })
  }
  return cleared
}

function filterOf(version?: number | null): { kek_version?: number | null } {
  return version === undefined ? {} : { kek_version: version }
}
