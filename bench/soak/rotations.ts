import { setTimeout as sleep } from 'node:timers/promises'
import type { RotationDoc } from '../../store/documents.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { readActive } from '../../store/kek-active.ts'
import type { Store } from '../../store/store.ts'
import type { Fixture } from '../fixture.ts'
import { field, soakCollections } from './book.ts'
import { untilDone } from './until-done.ts'

/** What became of one rotation. */
export interface Ended {
  row: RotationDoc
  /** Null when it did not complete. */
  counted: Counted | null
}

/** The counters of `records`, whose envelopes no application changes: their sum is exact. */
export interface Counted {
  /** Envelopes under the old version before the rotation. */
  before: number
  sum: number
  /** Envelopes of both collections that it left behind. */
  left: number
}

/** Rotates once between versions 1 and 2, from the active one; a rotation that ended early after promote is finished. */
export async function rotateOnce(fixture: Fixture): Promise<Ended> {
  const { store } = fixture
  const { from, to, previous } = await untilDone('no route is read', () => routeOf(store))
  const before = await untilDone('records are not counted', () =>
    countUnder(store, 'records', from),
  )
  const id = await untilDone('no rotation starts', () => started(fixture, { from, to, previous }))
  const row = await endOf(store, id)
  if (row.outcome !== 'completed') return { row, counted: null }
  const counted = await untilDone('the counters are not read', async () => {
    const ranges = (await readRanges(store, id)).filter(
      ({ collection }) => collection === 'records',
    )
    const sum = ranges.reduce((total, { counters }) => {
      return total + counters.rewrapped + counters.superseded + counters.quarantined
    }, 0)
    const left = await Promise.all(soakCollections.map((name) => countUnder(store, name, from)))
    return { before, sum, left: left.reduce((total, count) => total + count, 0) }
  })
  return { row, counted }
}

async function routeOf(store: Store) {
  const last = await lastRotation(store)
  const active = (await readActive(store))?.version ?? 1
  const isLeft = last !== null && last.outcome !== 'completed' && last.to === active
  const from = isLeft ? last.from : active
  return { from, to: 3 - from, previous: last?._id ?? null }
}

/** The id of a rotation that runs, or that started and ended while the command could not say so. */
async function started(
  { store, keyturn }: Fixture,
  { from, to, previous }: { from: number; to: number; previous: string | null },
): Promise<string> {
  const seen = async () => {
    const running = (await runningRotation(store)) ?? (await lastRotation(store))
    return running === null || running._id === previous ? null : running._id
  }
  const already = await seen()
  if (already !== null) return already
  const route = ['--from-version', from.toString(), '--to-version', to.toString()]
  await keyturn('rotate', '--detach', ...route)
  for (;;) {
    const id = await seen()
    if (id !== null) return id
    await sleep(100)
  }
}

async function endOf(store: Store, id: string): Promise<RotationDoc> {
  for (;;) {
    const row = await readRotation(store, id).catch(() => null)
    if (row !== null && row.ended_at !== null) return row
    await sleep(200)
  }
}

async function countUnder(store: Store, collection: string, version: number): Promise<number> {
  return await store.db.collection(collection).countDocuments({ [`${field}.kek_version`]: version })
}
