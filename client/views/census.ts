import type { FleetSettings } from '../../contracts/settings.ts'
import type { LostCollectionView } from '../../contracts/views.ts'
import { countVersions } from '../../store/census.ts'
import { lostCollections, type LostCollection } from '../../store/collections.ts'
import type { Store } from '../../store/store.ts'
import type { Keystore } from '../keystore.ts'

interface FieldCount {
  collection: string
  field: string
  version: number
  envelopes: number
}

export interface Census {
  /** Includes odd envelopes. */
  total: number
  /** Raw counts: quarantined envelopes are included, zeros are left out. */
  byVersion: Record<string, number>
  byField: FieldCount[]
  /** Envelopes that cannot be placed under a version. */
  odd: number
  oddByField: { collection: string; field: string; envelopes: number }[]
}

/** Counts the envelopes of the recorded collections by the version that they name. */
export async function takeCensus(store: Store, settings: FleetSettings): Promise<Census> {
  const { byField, odd, oddByField } = await countVersions(store, settings.collections)
  const byVersion: Record<string, number> = {}
  for (const { version, envelopes } of byField) {
    if (envelopes > 0) byVersion[version] = (byVersion[version] ?? 0) + envelopes
  }
  const total = Object.values(byVersion).reduce((sum, envelopes) => sum + envelopes, odd)
  return { total, byVersion, byField, odd, oddByField }
}

/**
 * The lost collections, as a member of an answer; absent where all recorded collections are as recorded. Call it after the
 * census: a collection that was dropped before the census was not counted.
 */
export async function lostMember(keystore: Keystore): Promise<{ lost?: LostCollectionView[] }> {
  const lost = keystore.isSetUp ? await lostIn(keystore) : []
  return lost.length === 0 ? {} : { lost }
}

/** The lost collections. In a copied keystore each collection has another UUID than the recorded one, which is not a loss. */
export async function lostIn({ store, settings, copied }: Keystore): Promise<LostCollection[]> {
  const recorded = copied
    ? settings.collections.map(({ name, envelopes }) => ({ name, envelopes }))
    : settings.collections
  return await lostCollections(store, recorded)
}

/** How many envelopes a rotation from this version reads in each field: those that name it, and odd ones. */
export function countByField(
  { byField, oddByField }: Census,
  settings: FleetSettings,
  version: number,
): { collection: string; field: string; envelopes: number }[] {
  return settings.collections.flatMap(({ name, envelopes }) =>
    envelopes.map((field) => ({
      collection: name,
      field,
      envelopes: [...byField.filter((row) => row.version === version), ...oddByField]
        .filter((row) => row.collection === name && row.field === field)
        .reduce((sum, row) => sum + row.envelopes, 0),
    })),
  )
}
