import { afterEach, describe, expect, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { remainingOf } from '../../store/census.ts'
import {
  collection,
  field,
  names,
  openFixture,
  type Fixture,
  type SealedRecord,
} from './fixture.ts'

let fixture: Fixture
/** Of all applications. */
let writes = 0
afterEach(async () => fixture.close())

/** What the application expects in the database: the data's IV by record. */
type Belief = Map<string, string>

/**
 * One application that writes its own part of the records: seals anew under either version, inserts, deletes, and puts
 * whole old copies back. Resolves with what it wrote last, once `done` returns true.
 */
async function application(
  part: string,
  ids: string[],
  old: SealedRecord[],
  done: () => boolean,
): Promise<Belief> {
  const records = fixture.store.db.collection<SealedRecord>(collection)
  const belief: Belief = new Map(old.map((record) => [record._id, ivOf(record)]))
  const pick = () => Math.floor(Math.random() * ids.length)
  for (let step = 0; !done(); step++) {
    const at = pick()
    const id = ids[at]!
    const action = step % 4
    if (action === 0) await records.deleteOne({ _id: id })
    if (action === 0) belief.delete(id)
    else {
      const name = action === 1 ? `${id}-${part}${step}` : id
      const [record] = action === 2 ? [old[at]] : await fixture.seal([name], 1 + (step % 2))
      await records.replaceOne({ _id: name }, record!, { upsert: true })
      belief.set(name, ivOf(record!))
    }
    writes += 1
  }
  return belief
}

function ivOf({ secret }: SealedRecord): string {
  return secret.iv.toString('hex')
}

describe('a sweep beside applications that write', () => {
  test('loses none of their writes, counts superseded envelopes, and leaves nothing under the old version', async () => {
    fixture = await openFixture()
    const ids = names(3_000)
    const old = await fixture.fill(ids)
    const ranges = await fixture.plan(2)
    let swept = false
    const apps = [0, 1, 2].map((part) => {
      const mine = (_: unknown, index: number) => index % 3 === part
      return application(`w${part}`, ids.filter(mine), old.filter(mine), () => swept)
    })
    const provider = slowed()
    const ends = await Promise.all(
      ranges.map(({ range }) => fixture.sweep(range, { page: 100, provider })),
    )
    swept = true
    const beliefs = await Promise.all(apps)
    expect(ends.map(({ end }) => end)).toEqual(['end', 'end'])

    const collections = [{ name: collection, envelopes: [field] }]
    for (let pass = 1; (await remainingOf(fixture.store, collections, 1)) > 0; pass++) {
      for (const { range } of await fixture.plan(1, pass))
        await fixture.sweep(range, { tail: true })
    }
    const counters = await fixture.counters()
    expect(counters.superseded).toBeGreaterThan(0)
    expect(counters.quarantined).toBe(0)

    const believed = new Map(beliefs.flatMap((belief) => [...belief]))
    const records = await fixture.store.db.collection<SealedRecord>(collection).find().toArray()
    expect(new Map(records.map((record) => [record._id, ivOf(record)]))).toEqual(believed)
    expect(await fixture.openAll()).toEqual({ 2: believed.size })
  })
})

/** Between reading and writing a page, the applications write so much that they meet some of its records. */
function slowed() {
  return new Proxy(fixture.provider, {
    get: (target, name) =>
      name !== 'rewrap'
        ? (Reflect.get(target, name) as unknown)
        : async (...args: Parameters<typeof target.rewrap>) => {
            const answer = await target.rewrap(...args)
            const enough = writes + 60
            await waitUntil('the applications do not write', () => writes >= enough, {
              withinMs: 60_000,
              everyMs: 5,
            })
            return answer
          },
  })
}
