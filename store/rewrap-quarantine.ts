import type { QuarantineDoc, QuarantineId } from './documents.ts'
import { keystore } from './keystore.ts'
import { readQuarantine, standsThere } from './quarantined-bytes.ts'
import type { Store } from './store.ts'

/** Oldest first; of one version when it is given. */
export async function listQuarantine(store: Store, version?: number): Promise<QuarantineDoc[]> {
  const rows = await readQuarantine(store, filterOf(version))
  return rows.map(({ doc }) => doc)
}

/** How many rows there are; of one version when it is given. */
export async function countQuarantine(store: Store, version?: number): Promise<number> {
  return keystore.quarantine(store).countDocuments(filterOf(version))
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

/**
 * Looks at each accused envelope again, and clears the row of one that its owner has repaired, rewritten, put back or
 * deleted. Returns how many rows were cleared.
 */
export async function recheckQuarantine(store: Store, version?: number): Promise<number> {
  const rows = await readQuarantine(store, filterOf(version))
  const standing = await standsThere(store, rows)
  let cleared = 0
  for (const [index, { doc }] of rows.entries()) {
    if (standing[index] === true) continue
    // Filtered by what was looked at: a sweep may have accused it of other bytes meanwhile.
    if (await clearQuarantine(store, doc._id, doc.digest)) cleared += 1
  }
  return cleared
}

function filterOf(version?: number): { kek_version?: number } {
  return version === undefined ? {} : { kek_version: version }
}
