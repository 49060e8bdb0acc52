import type { CollectionConfig, Config } from '../../contracts/settings.ts'
import type { ScanView } from '../../contracts/views.ts'
import { fieldsOf } from '../../store/field-census.ts'
import { firstOdd } from '../../store/odd-envelopes.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { lostIn, lostMember, takeCensus } from './census.ts'
import { ejson } from './ejson.ts'

/** The result of opening every envelope that names a version; `failed` has ids as EJSON. */
export type Opening = Pick<ScanView, 'opened' | 'failed'>

type Open = (keystore: Keystore, collections: readonly CollectionConfig[]) => Promise<Opening>

/**
 * Counts all envelopes, and opens those of the given collections with `open` where that is given. A lost collection is not
 * opened: what stands in its place may have no index, or be a view that cannot be read.
 */
export async function scan(config: Config, open: Open | null): Promise<ScanView> {
  return withKeystore(config, async (keystore) => {
    const kept = await keptIn(keystore)
    const opening = open === null ? { opened: null, failed: [] } : await open(keystore, kept)
    const { total, byVersion, odd } = await takeCensus(keystore.store, keystore.settings)
    const failed = [...opening.failed, ...(odd === 0 ? [] : await oddOnes(keystore, kept))]
    const lost = await lostMember(keystore)
    return { envelopes: total, byVersion, odd, opened: opening.opened, failed, ...lost }
  })
}

async function keptIn(keystore: Keystore): Promise<CollectionConfig[]> {
  const lost = new Set((await lostIn(keystore)).map(({ name }) => name))
  return keystore.settings.collections.filter(({ name }) => !lost.has(name))
}

/** The first odd envelopes of each field, as many as get their own quarantine rows. */
async function oddOnes(
  { store }: Keystore,
  collections: readonly CollectionConfig[],
): Promise<ScanView['failed']> {
  const failed: ScanView['failed'] = []
  for (const place of fieldsOf(collections)) {
    const { collection, field } = place
    for await (const found of firstOdd(store, place)) {
      for (const { id } of found) {
        failed.push({ collection, id: ejson(id), field, kekVersion: null, code: 'malformed' })
      }
    }
  }
  return failed
}
