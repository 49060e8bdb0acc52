import { randomBytes } from 'node:crypto'
import { Binary, Int32 } from 'mongodb'
import { dekAad } from '../envelope/aad.ts'
import { idBytes } from '../envelope/record-id.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'

export const install = 'bench'
export const place = { collection: 'records', field: 'secret' }
export const collections = [{ name: place.collection, envelopes: [place.field] }]

/** Bytes of data under each DEK, about the size of a private key or a token. */
const dataBytes = 200
const batch = 2_000

export function recordId(number: number): string {
  return `record-${number.toString().padStart(9, '0')}`
}

/** Inserts the records from `first` to `count`, each with an envelope under version 1. */
export async function fillRecords(
  store: Store,
  provider: KekProvider,
  count: number,
  first = 0,
): Promise<void> {
  const { collection, field } = place
  const records = store.db.collection<{ _id: string }>(collection)
  for (let at = first; at < count; at += batch) {
    const size = Math.min(batch, count - at)
    const ids = Array.from({ length: size }, (_, index) => recordId(at + index))
    const deks = ids.map((id) => ({
      dek: randomBytes(32),
      aad: dekAad(install, collection, field, idBytes(id), 1),
    }))
    const wraps = await provider.wrap(1, deks)
    const documents = ids.map((_id, index) => ({
      _id,
      rev: 0,
      [field]: {
        format: new Int32(1),
        kek_version: new Int32(1),
        provider: provider.name,
        dek_iv: new Binary(wraps[index]?.iv),
        dek_wrapped: new Binary(wraps[index]?.wrapped),
        iv: new Binary(randomBytes(12)),
        ciphertext: new Binary(randomBytes(dataBytes)),
      },
    }))
    await records.insertMany(documents, { ordered: false })
  }
}
