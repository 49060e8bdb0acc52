import { setTimeout as sleep } from 'node:timers/promises'
import type { Document } from 'mongodb'
import type { Keyring } from '../../keyring/index.ts'
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
  const records = store.db.collection<Row>('records')
  const live = store.db.collection<Row>('live')
  const done = { written: 0, conflicts: 0, unknown: 0, skipped: 0 }
  const refused: Record<string, number> = {}
  const pending = new Set<Promise<void>>()
  const ending = new AbortController()

  const sealed = async (number: number, id: string, plaintext: string) => {
    const keyring = keyrings[number % keyrings.length]
    try {
      return (await keyring?.seal(plaintext, { collection: 'live', field, id })) ?? null
    } catch (error) {
      const code = String((error as { code?: unknown }).code ?? error)
      refused[code] = (refused[code] ?? 0) + 1
      return null
    }
  }
  /** `write` returns whether it changed the record. `rest` keeps an entry with an unknown outcome away from the next writer. */
  const noted = async (entry: Entry, may: Entry['may'], write: () => Promise<boolean>) => {
    const before = entry.may
    entry.isBusy = true
    entry.may = [...new Set([...before, ...may])]
    try {
      const isWritten = await write()
      entry.may = isWritten && may.length > 0 ? may : before
      done[isWritten ? 'written' : 'conflicts'] += 1
      entry.isBusy = false
    } catch {
      done.unknown += 1
      setTimeout(() => (entry.isBusy = false), restMs).unref()
    }
  }
  const write = async (number: number) => {
    const kind = number % 20 === 0 ? 'insert' : (['beside', 'seal', 'back'] as const)[number % 3]
    const plaintext = newPlaintext()
    if (kind === 'insert') {
      const id = `live-new-${number.toString().padStart(9, '0')}`
      const envelope = await sealed(number, id, plaintext)
      if (envelope === null) return
      const entry = book.add('live', id, [null])
      await noted(entry, [digestOf(plaintext)], async () => {
        await live.insertOne({ _id: id, rev: 0, [field]: envelope })
        return true
      })
      return
    }
    const entries = book.entries[kind === 'beside' ? 'records' : 'live']
    const entry = entries[(number * 7_919) % entries.length]
    if (entry === undefined || entry.isBusy) return
    const { id: _id } = entry
    if (kind === 'beside') {
      await noted(entry, [], async () => {
        return (await records.updateOne({ _id }, { $inc: { rev: 1 } })).matchedCount === 1
      })
    } else if (kind === 'seal') {
      entry.isBusy = true
      const envelope = await sealed(number, _id, plaintext)
      entry.isBusy = false
      if (envelope === null) return
      await noted(entry, [digestOf(plaintext)], async () => {
        const change = { $set: { [field]: envelope }, $inc: { rev: 1 } }
        return (await live.updateOne({ _id }, change as never)).matchedCount === 1
      })
    } else {
      await noted(entry, [], async () => {
        const row = await live.findOne({ _id })
        if (row === null) return false
        const { rev } = row
        return (await live.replaceOne({ _id, rev }, { ...row, rev: rev + 1 })).matchedCount === 1
      })
    }
  }
  const clock = async () => {
    const began = performance.now()
    for (let number = 0; !ending.signal.aborted; number++) {
      await sleep(Math.max(0, began + (number * 1_000) / perSecond - performance.now()))
      if (pending.size >= mostInFlight) {
        done.skipped += 1
        continue
      }
      const work = write(number)
      pending.add(work)
      void work.finally(() => pending.delete(work))
    }
    await Promise.all(pending)
  }
  const running = clock()
  return {
    done,
    refused,
    async stop() {
      ending.abort()
      await running
    },
  }
}
