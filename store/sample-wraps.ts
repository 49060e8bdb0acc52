import { BSON } from 'mongodb'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { idBytesFromRaw } from '../envelope/record-id.ts'
import { rawAt } from './raw-bson.ts'
import type { Store } from './store.ts'
import { wrapAt, wrapProjection } from './wrap-fields.ts'

/** A sampled record, as a sweep would read it. */
export interface SampledWrap {
  /** For messages: the `_id` as relaxed EJSON. */
  id: string
  idBytes: Buffer
  /** As `PageEntry.wrap`. */
  wrap: unknown
  /** Paths of the layout that are missing in the record; all of them if it has no envelope. */
  missing: readonly string[]
}

/** Random records of a collection. Cheap on a large one: MongoDB picks them without reading the rest. */
export async function sampleWraps(
  store: Store,
  collections: readonly CollectionConfig[],
  place: { collection: string; field: string },
  size: number,
): Promise<SampledWrap[]> {
  const layout = layoutIn(collections, place.collection, place.field)
  const documents = await store.db
    .collection(place.collection)
    .aggregate<Buffer>([{ $sample: { size } }, { $project: wrapProjection(layout) }], { raw: true })
    .toArray()
  return documents.map((document) => ({
    id: BSON.EJSON.stringify((BSON.deserialize(document) as { _id: unknown })._id),
    idBytes: idBytesFromRaw(document),
    wrap: wrapAt(document, layout),
    missing: layout.paths.filter((path) => rawAt(document, path) === null),
  }))
}
