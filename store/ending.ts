import type { ErrorReport } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { censusDifferences } from './census.ts'
import { lostCollections, lostError } from './collections.ts'
import type { Store } from './store.ts'

/**
 * Null if the final counts of a rotation can be trusted, else the error: a recorded collection is not the one that was
 * counted, or a second count of all records, without an index, differs from the indexes for this version or for odd
 * envelopes. The sweep uses the indexes.
 */
export async function endFault(
  store: Store,
  collections: readonly CollectionConfig[],
  version: number,
): Promise<ErrorReport | null> {
  const differences = await censusDifferences(store, collections)
  // After the counts: a collection that disappeared before them was not counted.
  const [lost] = await lostCollections(store, collections)
  if (lost !== undefined) {
    const { code, message, hint } = lostError(lost)
    return { code, message, ...(hint === undefined ? {} : { hint }) }
  }
  const ours = differences.find((each) => each.version === version || each.version === 'odd')
  if (ours === undefined) return null
  const { collection, field, byIndex, byScan } = ours
  const what = ours.version === 'odd' ? 'odd' : `under v${version}`
  return {
    code: 'rotation-failed',
    message: `"${field}" of "${collection}" has ${byScan} envelopes ${what}, and its index shows ${byIndex}`,
    hint: 'the index was recreated in another way, or is damaged: drop it, run keyturn setup, rotate again',
  }
}
