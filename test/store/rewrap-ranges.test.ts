import type { Binary } from 'mongodb'
import { BSON } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import { commitPage } from '../../store/page-transaction.ts'
import { endRotation } from '../../store/rotations.ts'
import { insertRanges, readRanges, sumCounters } from '../../store/rewrap-ranges.ts'
import { closeRanges, takeRange } from '../../store/range-takeover.ts'
import { proveKillSessions } from '../../store/sessions.ts'
import { writeStep } from '../../store/page-statements.ts'
import { kindsOfIds } from './kinds-of-ids.ts'
import {
  certificates,
  field,
  fill,
  otherProcess,
  page,
  pageInput,
  startRotation,
  startSweep,
  take,
  testStore,
  type Sweep,
} from './support.ts'

const store = await testStore()
const other = await otherProcess(store)
const records = store.db.collection<{ _id: string }>(certificates)
let sweep: Sweep

beforeEach(async () => {
  await fill(store, ['a', 'b', 'c'])
  sweep = await startSweep(store)
})

/** A worker that stops for ever in the middle of its page: all is written, but for the commit. */
async function freeze(): Promise<void> {
  const { entries } = await page(store, sweep.taken.cursor, 10)
  await writeStep(store, sweep.taken.session, pageInput(sweep, entries))
}

describe('a takeover', () => {
  test('kills the open transaction of a frozen worker, so that the application continues at once', async () => {
    await freeze()
    const write = records.updateOne(
      { _id: 'b' },
      { $set: { name: 'app' } },
      {
        maxTimeMS: 20_000,
      },
    )
    const began = performance.now()
    const taken = await take(other, sweep)
    expect(await write).toMatchObject({ modifiedCount: 1 })
    expect(performance.now() - began).toBeLessThan(15_000)
    expect(taken).toMatchObject({ attempt: 2, cursor: null, doc: { attempt: 2 } })

    // The frozen attempt continues: its transaction is gone, and the attempt filter refuses another.
    await expect(sweep.taken.session.commitTransaction()).rejects.toMatchObject({ code: 251 })
    const { entries } = await page(store, null, 10)
    expect(await commitPage(store, sweep.taken.session, pageInput(sweep, entries))).toEqual({
      kind: 'replaced',
    })
    const next = { ...sweep, taken }
    expect(await commitPage(other, taken.session, pageInput(next, entries))).toMatchObject({
      kind: 'committed',
      rewrapped: 3,
    })
    expect(await sumCounters(store, sweep.rotation)).toMatchObject({ rewrapped: 3, superseded: 0 })
  })

  test('succeeds while the old attempt begins one transaction after the other', async () => {
    const stop = new AbortController()
    const zombie = (async () => {
      while (!stop.signal.aborted) {
        await freeze().catch(() => undefined)
        await sweep.taken.session.abortTransaction().catch(() => undefined)
      }
    })()
    expect(await take(other, sweep)).toMatchObject({ attempt: 2 })
    stop.abort()
    await zombie
  })

  test('writes the attempt’s session id together with its number', async () => {
    const [range] = await readRanges(store, sweep.rotation)
    expect(range?.session?.id.toString('hex')).toBe(
      (sweep.taken.session.id?.id as Binary).toString('hex'),
    )
  })

  test('by several at once gives each its own attempt number, and only the last one is valid', async () => {
    const taken = await Promise.all([1, 2, 3, 4].map(() => take(store, sweep)))
    const attempts = taken.map(({ attempt }) => attempt)
    expect(new Set(attempts).size).toBe(4)
    const { entries } = await page(store, null, 10)
    const results = []
    for (const each of taken) {
      results.push(
        await commitPage(store, each.session, pageInput({ ...sweep, taken: each }, entries)),
      )
    }
    expect(results.filter(({ kind }) => kind === 'committed')).toHaveLength(1)
  })

  test('of a closed range gives null, of an unknown range no-rotation', async () => {
    await closeRanges(store, { rotation: sweep.rotation })
    expect(await takeRange(store, sweep)).toBeNull()
    await expect(takeRange(store, { rotation: 'r', range: 's' })).rejects.toMatchObject({
      code: 'no-rotation',
    })
  })

  test('ends when its signal is aborted', async () => {
    await expect(takeRange(store, sweep, AbortSignal.abort())).rejects.toThrow('aborted')
  })

  test('is reported by doctor as possible for this user', async () => {
    expect(await proveKillSessions(store)).toBe(true)
  })
})

describe('closing ranges', () => {
  test('kills the transaction of a frozen worker, and no range of the rotation can be inserted afterwards', async () => {
    await freeze()
    expect(await closeRanges(other, { rotation: sweep.rotation })).toBe(1)
    await expect(sweep.taken.session.commitTransaction()).rejects.toMatchObject({ code: 251 })
    const late = insertRanges(store, sweep.rotation, [
      { range: 'late', collection: certificates, field, min: null, max: null },
    ])
    await expect(late).rejects.toMatchObject({ code: 'no-rotation' })
  })

  test('of all rotations leaves none open, and a running rotation can insert new ones', async () => {
    const rotation = await startRotation(store)
    await closeRanges(store, 'all')
    expect(await takeRange(store, sweep)).toBeNull()
    const ranges = [{ range: '0-0', collection: certificates, field, min: null, max: null }]
    await insertRanges(store, rotation, ranges)
    await insertRanges(store, rotation, ranges)
    expect(await readRanges(store, rotation)).toHaveLength(1)
    await endRotation(store, rotation, 'cancelled')
    await expect(insertRanges(store, rotation, ranges)).rejects.toMatchObject({
      code: 'no-rotation',
    })
  })
})

describe('bounds', () => {
  test('of any type are read back unchanged', async () => {
    const rotation = await startRotation(store)
    const ids = kindsOfIds(1)
    await insertRanges(
      store,
      rotation,
      ids.map((v, n) => ({
        range: String(n).padStart(3, '0'),
        collection: certificates,
        field,
        min: { v },
        max: null,
      })),
    )
    const ranges = await readRanges(store, rotation)
    const stored = (v: unknown) => Buffer.from(BSON.serialize({ v })).toString('hex')
    expect(ranges.map(({ min }) => stored(min?.v))).toEqual(ids.map(stored))
  })
})
