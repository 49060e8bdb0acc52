import type { Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { NodeKind } from '../contracts/fleet.ts'
import type { ActiveDoc, SettingsDoc, VersionDoc } from './documents.ts'
import { seenLately } from './fleet-nodes.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'

/** What a process reads behind each of its heartbeats. */
export interface BeatReading {
  /** Null before `setup`. */
  settings: SettingsDoc | null
  /** Null before the first version was installed. */
  active: ActiveDoc | null
  /** By their numbers, intents among them. */
  versions: VersionDoc[]
  /** Its row on the roster says all that `seeNode` would write. */
  isSeen: boolean
}

/**
 * One question instead of four: in a fleet of hundreds, what a heartbeat costs MongoDB is mostly the number of commands.
 * The parts are read one after the other, as if they were asked for one by one.
 */
export async function readForBeat(
  store: Store,
  node: string,
  kind: NodeKind,
): Promise<BeatReading> {
  const rows = await keystore
    .versions(store)
    .aggregate<{
      version?: VersionDoc
      active?: ActiveDoc
      settings?: SettingsDoc
      seen?: unknown
    }>([
      under('version'),
      { $unionWith: { coll: collections.active, pipeline: [under('active')] } },
      { $unionWith: { coll: collections.settings, pipeline: [under('settings')] } },
      {
        $unionWith: {
          coll: collections.nodes,
          pipeline: [{ $match: seenLately(node, kind) }, under('seen')],
        },
      },
    ])
    .toArray()
  const versions = rows.flatMap(({ version }) => (version === undefined ? [] : [version]))
  return {
    settings: rows.find(({ settings }) => settings?._id === 'settings')?.settings ?? null,
    active: rows.find(({ active }) => active !== undefined)?.active ?? null,
    versions: versions.sort((one, other) => one._id - other._id),
    isSeen: rows.some(({ seen }) => seen !== undefined),
  }
}

/** The whole document under one name, so that it is known where it comes from. */
function under(name: string): Document {
  return { $replaceWith: { [name]: '$$ROOT' } }
}
