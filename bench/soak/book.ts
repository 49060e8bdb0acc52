import { createHash, randomBytes } from 'node:crypto'
import type { Document } from 'mongodb'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Keyring } from '../../keyring/index.ts'
import type { Store } from '../../store/store.ts'
import { untilDone } from './until-done.ts'

/** Applications change the envelopes of `live`, and of `records` only what is beside them. */
export const soakCollections = ['records', 'live'] as const
export type SoakCollection = (typeof soakCollections)[number]
export const field = 'secret'

/** Where a record is, and what its envelope may open to. */
export interface Entry {
  readonly collection: SoakCollection
  readonly id: string
  /** Digests of plaintexts; several after a write whose outcome is unknown. Null: the record may be missing. */
  may: (string | null)[]
  /** A writer or a check is at it. */
  isBusy: boolean
}

export interface Compared {
  opened: number
  /** One line for each. */
  lost: string[]
  wrong: string[]
}

const batch = 500
/** Plaintexts of each collection that are kept. */
const kept = 20

/** A record of every write, which the database is compared with at the end. */
export class Book {
  readonly entries: Record<SoakCollection, Entry[]> = { records: [], live: [] }
  /** Some plaintexts, to search for. */
  readonly samples: string[] = []

  add(collection: SoakCollection, id: string, may: Entry['may']): Entry {
    const entry = { collection, id, may, isBusy: false }
    this.entries[collection].push(entry)
    return entry
  }

  /** Seals and inserts records. */
  async fill(store: Store, keyring: Keyring, collection: SoakCollection, count: number) {
    for (let at = 0; at < count; at += batch) {
      const some = Array.from({ length: Math.min(batch, count - at) }, (_, index) => {
        const id = `${collection}-${(at + index).toString().padStart(9, '0')}`
        return { plaintext: newPlaintext(), place: { collection, field, id } }
      })
      const envelopes = await untilDone('nothing is sealed', () => keyring.sealMany(some))
      const documents = some.map(({ place }, index) => {
        return { _id: place.id as never, rev: 0, [field]: envelopes[index] }
      })
      await store.db.collection(collection).insertMany(documents, { ordered: false })
      for (const { plaintext, place } of some) this.add(collection, place.id, [digestOf(plaintext)])
      if (at === 0) this.samples.push(...some.slice(0, kept).map(({ plaintext }) => plaintext))
    }
  }

  /** Opens these records, or all, and compares them. Those that a writer is at are left out. */
  async compare(store: Store, keyring: Keyring, entries = this.#all()): Promise<Compared> {
    const result: Compared = { opened: 0, lost: [], wrong: [] }
    for (let at = 0; at < entries.length; at += batch) {
      const free = entries.slice(at, at + batch).filter(({ isBusy }) => !isBusy)
      for (const entry of free) entry.isBusy = true
      try {
        for (const collection of soakCollections) {
          const some = free.filter((entry) => entry.collection === collection)
          await compareSome(store, keyring, some, result)
        }
      } finally {
        for (const entry of free) entry.isBusy = false
      }
    }
    return result
  }

  /** So many records, from all over. */
  sample(count: number): Entry[] {
    const all = this.#all()
    return Array.from({ length: count }, () => all[Math.floor(Math.random() * all.length)]).filter(
      (entry) => entry !== undefined,
    )
  }

  /** No writer is left: records with an unknown outcome are compared too. */
  rest(): void {
    for (const entry of this.#all()) entry.isBusy = false
  }

  #all(): Entry[] {
    return [...this.entries.records, ...this.entries.live]
  }
}

async function compareSome(
  store: Store,
  keyring: Keyring,
  entries: readonly Entry[],
  result: Compared,
): Promise<void> {
  const [first] = entries
  if (first === undefined) return
  const { collection } = first
  const rows = store.db.collection<Document & { _id: string }>(collection)
  const found = await rows.find({ _id: { $in: entries.map(({ id }) => id) } }).toArray()
  const byId = new Map(found.map((row) => [row._id, row]))
  const there = entries.filter(({ id, may }) => {
    const isThere = byId.has(id)
    if (!isThere && !may.includes(null)) result.lost.push(`${id} is gone`)
    return isThere
  })
  const requests = there.map(({ id }) => {
    return { envelope: byId.get(id)?.[field] as unknown, place: { collection, field, id } }
  })
  const answers = await keyring.openMany(requests)
  result.opened += answers.length
  for (const [index, { id, may }] of there.entries()) {
    const answer = answers[index]
    if (answer === undefined || answer instanceof KeyturnError) {
      result.lost.push(`${id} does not open: ${answer?.code ?? 'no answer'}`)
    } else if (!may.includes(digestOf(answer))) result.wrong.push(`${id} has another plaintext`)
  }
}

/** About the size of a token. */
export function newPlaintext(): string {
  return `plaintext ${randomBytes(96).toString('base64')}`
}

export function digestOf(plaintext: Uint8Array | string): string {
  return createHash('sha256').update(plaintext).digest('base64')
}
