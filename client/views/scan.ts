import type { Config } from '../../contracts/settings.ts'
import type { ScanView } from '../../contracts/views.ts'
import { withoutViews } from '../../store/collections.ts'
import { fieldsOf } from '../../store/field-census.ts'
import { firstOdd } from '../../store/odd-envelopes.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { lostMember, takeCensus } from './census.ts'
import { ejson } from './ejson.ts'

/** The result of opening every envelope that names a version; `failed` has ids as EJSON. */
export type Opening = Pick<ScanView, 'opened' | 'failed'>

/** Counts all envelopes, and opens each of them with `open` where that is given. */
export async function scan(
  config: Config,
  open: ((keystore: Keystore) => Promise<Opening>) | null,
): Promise<ScanView> {
  return withKeystore(config, async (keystore) => {
    const opening = open === null ? { opened: null, failed: [] } : await open(keystore)
    const { total, byVersion, odd } = await takeCensus(keystore.store, keystore.settings)
    const failed = [...opening.failed, ...(odd === 0 ? [] : await oddOnes(keystore))]
    const lost = await lostMember(keystore)
    return { envelopes: total, byVersion, odd, opened: opening.opened, failed, ...lost }
  })
}

/** The first odd envelopes of each field, as many as get their own quarantine rows. */
async function oddOnes({ store, settings }: Keystore): Promise<ScanView['failed']> {
  const failed: ScanView['failed'] = []
  for (const place of fieldsOf(await withoutViews(store, settings.collections))) {
    const { collection, field } = place
    for await (const found of firstOdd(store, place)) {
      for (const { id } of found) {
        failed.push({ collection, id: ejson(id), field, kekVersion: null, code: 'malformed' })
      }
    }
  }
  return failed
}
