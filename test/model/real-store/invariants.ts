import { openAll } from '../../../keyring/open.ts'
import type { FleetMember } from '../../../keyring/membership.ts'
import { readActive } from '../../../store/kek-active.ts'
import { readVersions } from '../../../store/kek-versions.ts'
import { envelopeAt } from '../../support/fleet-records.ts'
import { install, place, type World } from './world.ts'

/** Opens with every loaded version, without checking permission. */
const reader = { requireVersion: () => Promise.resolve() } as unknown as FleetMember

/**
 * The invariants (docs/protocol.md) that can be checked at one moment: each envelope opens under the version that it names,
 * to what was written last (1, 2, 5); no needed version is destroyed (3); at most one rotation is marked (6).
 */
export async function requireInvariants(world: World): Promise<void> {
  const { store, provider, contents, apps, left } = world
  const [rows, active, records] = await Promise.all([
    readVersions(store),
    readActive(store),
    store.db.collection<{ _id: string }>(place.collection).find().toArray(),
  ])
  const destroyed = rows.filter((row) => row.destroyed_at !== null).map(({ _id }) => _id)
  const requests = records.map((record) => {
    return {
      envelope: envelopeAt(record, place.field),
      place: { ...place, id: record._id },
    }
  })
  const opened = await openAll({ install, provider, member: reader }, requests)
  for (const [index, { envelope, place: where }] of requests.entries()) {
    const { id } = where
    const { kek_version: version } = envelope
    if (destroyed.includes(version)) throw new Error(`${id} is under version ${version}: destroyed`)
    if (String(opened[index]) !== contents.get(id)) {
      throw new Error(`${id} opens to ${String(opened[index])}, not ${contents.get(id)}`)
    }
  }
  if (records.length !== contents.size) throw new Error('a record is gone')
  if (active === null || destroyed.includes(active.version)) throw new Error('no version is active')
  if (left.has(active.version)) throw new Error(`version ${active.version} is active again`)
  for (const app of apps) {
    const version = app.wrapsUnder(world)
    if (version !== null && destroyed.includes(version)) {
      throw new Error(`${app.node} may wrap under version ${version}: destroyed`)
    }
  }
  const marks = new Set(rows.map(({ rotation }) => rotation).filter((mark) => mark !== null))
  if (marks.size > 1) throw new Error('two rotations are marked')
}

/** How many envelopes name each of these versions. */
export async function countUnder(
  { store }: World,
  versions: ReadonlySet<number>,
): Promise<Map<number, number>> {
  const records = store.db.collection(place.collection)
  const counts = new Map<number, number>()
  for (const version of versions) {
    counts.set(version, await records.countDocuments({ [`${place.field}.kek_version`]: version }))
  }
  return counts
}
