import type { ActiveDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Null before the first version was installed. */
export async function readActive(store: Store): Promise<ActiveDoc | null> {
  return await keystore.active(store).findOne({ _id: 'active' })
}

/**
 * Makes the first version active, with epoch 1, and dates its row. Returns the active document afterwards, which is the
 * existing one if there was one. Null if `version` is not installed.
 */
export async function insertFirstActive(store: Store, version: number): Promise<ActiveDoc | null> {
  const at = await serverNow(store)
  return inTransaction(store, async (session) => {
    const there = await keystore.active(store).findOne({ _id: 'active' }, { session })
    if (there !== null) return there
    const { matchedCount } = await keystore
      .versions(store)
      .updateOne(
        { _id: version, canary: { $ne: null }, removal: null, destroyed_at: null },
        { $set: { activated_at: at, periods: [{ activated_at: at, left_at: null }] } },
        { session },
      )
    if (matchedCount === 0) return null
    const active: ActiveDoc = { _id: 'active', version, epoch: 1, rotation: null, at }
    await keystore.active(store).insertOne(active, { session })
    return active
  })
}
