import type { CollectionConfig } from '../contracts/settings.ts'
import { countVersions, leftOf } from './census.ts'
import { lostCollections, type LostCollection } from './collections.ts'
import type { ActiveDoc, HeartbeatDoc, NodeDoc, VersionDoc } from './documents.ts'
import { fenceObstacle, fenceOn, hasFence } from './fence.ts'
import { readRoster } from './fleet-nodes.ts'
import { readActive } from './kek-active.ts'
import { readVersion, readVersions } from './kek-versions.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import { countQuarantine } from './rewrap-quarantine.ts'
import { serverNow, type Store } from './store.ts'

/** What the guards of a removal are judged by, as it stands in the keystore. */
export interface RemovalReading {
  row: VersionDoc | null
  active: ActiveDoc | null
  roster: NodeDoc[]
  heartbeats: HeartbeatDoc[]
  /** The database's clock, read after the heartbeats. */
  now: Date
  /** Census without exactly the quarantined bytes. */
  remaining: number
  /** Recorded collections that are not what they were. */
  lost: LostCollection[]
  /** Versions of envelopes that have no row. */
  unknown: number[]
  /** Odd envelopes that are not in quarantine, and those that are. */
  odd: number
  quarantined: number
  oddQuarantined: number
  fence: 'stands' | 'missing' | 'refused'
}

/** Reads only; the census comes last, behind whatever keeps writes away. */
export async function readForRemoval(
  store: Store,
  version: number,
  collections: readonly CollectionConfig[],
): Promise<RemovalReading> {
  const row = await readVersion(store, version)
  const [roster, heartbeats] = await Promise.all([readRoster(store), readHeartbeats(store)])
  // After them: no epoch that a heartbeat has seen is above this one, unless an older state was put back.
  const active = await readActive(store)
  const now = await serverNow(store)
  const fence = await fenceAround(store, version, collections)
  const unknown = await versionsWithoutRow(store, collections)
  const { under: remaining, odd } = await leftOf(store, collections, version)
  const quarantined = await countQuarantine(store, version)
  const oddQuarantined = await countQuarantine(store, null)
  // Behind the counts: one that went before them was not counted.
  const lost = await lostCollections(store, collections)
  const counts = { remaining, odd, quarantined, oddQuarantined }
  return { row, active, roster, heartbeats, now, lost, unknown, ...counts, fence }
}

async function versionsWithoutRow(
  store: Store,
  collections: readonly CollectionConfig[],
): Promise<number[]> {
  const { byVersion } = await countVersions(store, collections)
  const known = new Set((await readVersions(store)).map(({ _id }) => _id))
  return Object.keys(byVersion)
    .map(Number)
    .filter((version) => !known.has(version))
}

/** `refused`: it does not stand, and could not hold. */
async function fenceAround(
  store: Store,
  version: number,
  collections: readonly CollectionConfig[],
): Promise<RemovalReading['fence']> {
  let stands = true
  for (const collection of collections) {
    const fence = fenceOn(collection, version)
    if (await hasFence(store, fence)) continue
    stands = false
    if ((await fenceObstacle(store, fence)) !== null) return 'refused'
  }
  return stands ? 'stands' : 'missing'
}
