import { setTimeout as sleep } from 'node:timers/promises'
import type { Collection, Document } from 'mongodb'
import type { Envelope, Keyring } from '../../keyring/index.ts'
import type { Store } from '../../store/store.ts'
import { digestOf, field, newPlaintext, type Book, type Entry } from './book.ts'

/** Started on schedule, so that a slow answer does not reduce the load, until so many wait for an answer. */
const perSecond = 200
const mostInFlight = 50
/** After a write whose outcome is unknown; no write of the driver is repeated for longer. */
const restMs = 60_000

type Row = Document & { _id: string; rev: number }

/** Applications that write: what they did, and what was refused to them. */
export interface Writers {
  readonly done: { written: number; conflicts: number; unknown: number; skipped: number }
  /** Seals that were refused, by code: they wrote nothing. */
  readonly refused: Record<string, number>
  stop(): Promise<void>
}

/**
 * 200 writes a second, in turn by each keyring: changes beside an envelope, replacements of an envelope by a fresh one,
 * whole records written back as they were read (with optimistic locking, so old envelopes return), and a few inserts.
 */
export function startWriters(store: Store, keyrings: readonly Keyring[], book: Book): Writers {
  const writing = new Writing(store, keyrings, book)
  const pending = new Set<Promise<void>>()
  const ending = new AbortController()
  const clock = async () => {
    const began = performance.now()
    for (let number = 0; !ending.signal.aborted; number++) {
      await sleep(Math.max(0, began + (number * 1_000) / perSecond - performance.now()))
      if (pending.size >= mostInFlight) {
        writing.done.skipped += 1
        continue
      }
      const work = writing.write(number)
      pending.add(work)
      void work.finally(() => pending.delete(work))
    }
    await Promise.all(pending)
  }
  const running = clock()
  return {
    done: writing.done,
    refused: writing.refused,
    async stop() {
      ending.abort()
      await running
    },
  }
}

class Writing {
  readonly done = { written: 0, conflicts: 0, unknown: 0, skipped: 0 }
  readonly refused: Record<string, number> = {}
  readonly #records: Collection<Row>
  readonly #live: Collection<Row>
  readonly #keyrings: readonly Keyring[]
  readonly #book: Book

  constructor(store: Store, keyrings: readonly Keyring[], book: Book) {
    this.#records = store.db.collection<Row>('records')
    this.#live = store.db.collection<Row>('live')
    this.#keyrings = keyrings
    this.#book = book
  }

  async write(number: number): Promise<void> {
    if (number % 20 === 0) {
      await this.#insert(number)
      return
    }
    const kind = (['beside', 'seal', 'back'] as const)[number % 3] ?? 'beside'
    const entries = this.#book.entries[kind === 'beside' ? 'records' : 'live']
    const entry = entries[(number * 7_919) % entries.length]
    if (entry === undefined || entry.isBusy) return
    if (kind === 'beside') await this.#changeBeside(entry)
    else if (kind === 'seal') await this.#replaceEnvelope(entry, number)
    else await this.#writeBack(entry)
  }

  async #insert(number: number): Promise<void> {
    const id = `live-new-${number.toString().padStart(9, '0')}`
    const plaintext = newPlaintext()
    const envelope = await this.#sealed(number, id, plaintext)
    if (envelope === null) return
    const entry = this.#book.add('live', id, [null])
    await this.#noted(entry, [digestOf(plaintext)], async () => {
      await this.#live.insertOne({ _id: id, rev: 0, [field]: envelope })
      return true
    })
  }

  async #changeBeside(entry: Entry): Promise<void> {
    await this.#noted(entry, [], async () => {
      const { matchedCount } = await this.#records.updateOne(
        { _id: entry.id },
        { $inc: { rev: 1 } },
      )
      return matchedCount === 1
    })
  }

  async #replaceEnvelope(entry: Entry, number: number): Promise<void> {
    const plaintext = newPlaintext()
    entry.isBusy = true
    const envelope = await this.#sealed(number, entry.id, plaintext)
    entry.isBusy = false
    if (envelope === null) return
    await this.#noted(entry, [digestOf(plaintext)], async () => {
      const change = { $set: { [field]: envelope }, $inc: { rev: 1 } }
      return (await this.#live.updateOne({ _id: entry.id }, change)).matchedCount === 1
    })
  }

  async #writeBack(entry: Entry): Promise<void> {
    await this.#noted(entry, [], async () => {
      const { id: _id } = entry
      const row = await this.#live.findOne({ _id })
      if (row === null) return false
      const { rev } = row
      const { matchedCount } = await this.#live.replaceOne({ _id, rev }, { ...row, rev: rev + 1 })
      return matchedCount === 1
    })
  }

  /** Null when the seal was refused. */
  async #sealed(number: number, id: string, plaintext: string): Promise<Envelope | null> {
    const keyring = this.#keyrings[number % this.#keyrings.length]
    try {
      return (await keyring?.seal(plaintext, { collection: 'live', field, id })) ?? null
    } catch (error) {
      const code = String((error as { code?: unknown }).code ?? error)
      this.refused[code] = (this.refused[code] ?? 0) + 1
      return null
    }
  }

  /** `write` returns whether it changed the record. An entry with an unknown outcome rests before the next writer. */
  async #noted(entry: Entry, may: Entry['may'], write: () => Promise<boolean>): Promise<void> {
    const before = entry.may
    entry.isBusy = true
    entry.may = [...new Set([...before, ...may])]
    try {
      const isWritten = await write()
      entry.may = isWritten && may.length > 0 ? may : before
      this.done[isWritten ? 'written' : 'conflicts'] += 1
      entry.isBusy = false
    } catch {
      this.done.unknown += 1
      setTimeout(() => (entry.isBusy = false), restMs).unref()
    }
  }
}
