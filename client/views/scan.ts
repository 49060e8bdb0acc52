import type { Config } from '../../contracts/settings.ts'
import type { ScanView } from '../../contracts/views.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { takeCensus } from './census.ts'

/** What opening every envelope found; `failed` with ids as EJSON. */
export type Opening = Pick<ScanView, 'opened' | 'failed'>

/** Counts all envelopes; `open`, where given, opens each of them beside. */
export async function scan(
  config: Config,
  open: ((keystore: Keystore) => Promise<Opening>) | null,
): Promise<ScanView> {
  return withKeystore(config, async (keystore) => {
    const opening = open === null ? { opened: null, failed: [] } : await open(keystore)
    const { total, byVersion } = await takeCensus(keystore.store, keystore.settings)
    return { envelopes: total, byVersion, ...opening }
  })
}
