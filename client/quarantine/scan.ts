import type { Config } from '../../contracts/settings.ts'
import type { QuarantineScanView } from '../../contracts/views.ts'
import { requireCollections } from '../../store/collections.ts'
import { quarantineOdd } from '../../store/odd-quarantine.ts'
import { recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import { requireInstalled, withKeystore } from '../keystore.ts'

/**
 * Quarantines odd envelopes outside of a rotation, and clears the rows of envelopes that were repaired or deleted. Throws
 * what `requireInstalled` and `requireCollections` throw.
 */
export async function scanQuarantine(config: Config): Promise<QuarantineScanView> {
  return withKeystore(config, async (keystore) => {
    requireInstalled(keystore, config)
    const { store, settings } = keystore
    await requireCollections(store, settings.collections)
    const cleared = await recheckQuarantine(store)
    const { odd, quarantined } = await quarantineOdd(store, settings.collections, null)
    return { odd, quarantined, cleared }
  })
}
