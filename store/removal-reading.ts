import type { CollectionConfig } from '../contracts/settings.ts'
import { countVersions, leftOf } from './census.ts'
import { lostCollections, type LostCollection } from './collections.ts'
import type {
  ActiveDoc,
  BackupDoc,
  HeartbeatDoc,
  NodeDoc,
  UseDoc,
  VersionDoc,
} from './documents.ts'
import { fenceObstacle, fenceOn, hasFence } from './fence.ts'
import { readRoster } from './fleet-nodes.ts'
import { readBackups } from './kek-backups.ts'
import { readActive } from './kek-active.ts'
import { readUses } from './kek-uses.ts'
import { readVersion, readVersions } from './kek-versions.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import { countQuarantine } from './rewrap-quarantine.ts'
import { serverNow, type Store } from './store.ts'

/** The keystore's facts for the guards of a removal. */
export interface RemovalReading {
  row: VersionDoc | null
  active: ActiveDoc | null
  roster: NodeDoc[]
  heartbeats: HeartbeatDoc[]
  /** The database's clock, read after the heartbeats. */
  now: Date
  /** Census without envelopes whose exact bytes are in quarantine. */
  remaining: number
  /** Recorded collections that are missing or replaced. */
  lost: LostCollection[]
  /** Versions named by envelopes without a row. */
  unknown: number[]
  /** Odd envelopes that are not in quarantine, and those that are. */
  odd: number
  quarantined: number
  oddQuarantined: number
  /** Recorded uses, as long ago as they may be. */
  uses: UseDoc[]
  malformedUses: string[]
  /** All marked backups. */
  backups: BackupDoc[]
  fence: 'stands' | 'missing' | 'refused'
}

/** Reads only. The census comes last, after everything that prevents writes. */
export async function readForRemoval(
  store: Store,
  version: number,
  collections: readonly CollectionConfig[],
): Promise<RemovalReading> {
  const row = await readVersion(store, version)
  const [roster, heartbeats] = await Promise.all([readRoster(store), readHeartbeats(store)])
  // Read after the heartbeats: none has seen a higher epoch, unless an older state was restored.
  const active = await readActive(store)
  const now = await serverNow(store)
  const fence = await fenceAround(store, version, collections)
  const unknown = await versionsWithoutRow(store, collections)
  const { under: remaining, odd } = await leftOf(store, collections, version)
  const quarantined = await countQuarantine(store, version)
  const oddQuarantined = await countQuarantine(store, null)
  // As late as possible: a use stops the removal.
  const { uses, malformed: malformedUses } = await readUses(store, version)
  // After the counts: a collection that disappeared before them was not counted.
  const lost = await lostCollections(store, collections)
  const counts = { remaining, odd, quarantined, oddQuarantined }
  const used = { uses, malformedUses, backups: await readBackups(store) }
  return { row, active, roster, heartbeats, now, lost, unknown, ...counts, ...used, fence }
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

/** `refused`: it is not set, and could not be enforced. */
async function fenceAround(
  store: Store,
  version: number,
  collections: readonly CollectionConfig[],
): Promise<RemovalReading['fence']> {
  let isEnforced = true
  for (const collection of collections) {
    const fence = fenceOn(collection, version)
    if (await hasFence(store, fence)) continue
    isEnforced = false
    if ((await fenceObstacle(store, fence)) !== null) return 'refused'
  }
  return isEnforced ? 'stands' : 'missing'
}
