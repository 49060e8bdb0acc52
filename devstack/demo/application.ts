/**
 * The demo's application: a separate process that reads and writes secrets through the keyring all the time, and does not
 * know of rotations. It ends on SIGTERM and prints its report as one JSON document.
 *
 *   node application.js CONFIG NODE
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Db } from 'mongodb'
import { loadConfig } from '../../config/load-config.ts'
import { openKeyring } from '../../keyring/index.ts'
import type { Keyring } from '../../keyring/index.ts'
import { withStore } from '../../store/store.ts'
import {
  at,
  digestKey,
  digestOf,
  dnsAccounts,
  families,
  placeOf,
  sealedDocuments,
} from './records.ts'
import type { Family } from './records.ts'

/** What the application did, and how it went. */
export interface ApplicationReport {
  reads: number
  writes: number
  inserts: number
  errors: number
  firstError: string | null
  slowestReadMs: number
  slowestWriteMs: number
  /** Digest of the last plaintext it wrote, by record. */
  written: Record<string, string>
  /** Envelopes it replaced, by versions before and after: `"1>2": 17`. New records count as from 0. */
  moves: Record<string, number>
}

/** The pause between two operations: about a hundred a second. */
const restMs = 8
/** One in so many operations writes, one in so many writes inserts. */
const writeEvery = 4
const insertEvery = 8

const [configPath = '', node = 'app'] = process.argv.slice(2)
const config = loadConfig({ file: configPath })
const { uri, database } = config.mongodb

const report: ApplicationReport = {
  reads: 0,
  writes: 0,
  inserts: 0,
  errors: 0,
  firstError: null,
  slowestReadMs: 0,
  slowestWriteMs: 0,
  written: {},
  moves: {},
}
const stop = new AbortController()
process.once('SIGTERM', () => {
  stop.abort()
})

await withStore({ uri, database }, async ({ db }) => {
  const keyring = await openKeyring({ config: configPath, node, ephemeral: true })
  try {
    console.log('application is up')
    await operate(keyring, db)
  } finally {
    await keyring.close()
  }
})
console.log(JSON.stringify(report))

async function operate(keyring: Keyring, db: Db): Promise<void> {
  const ids = await readIds(db)
  for (let turn = 1; !stop.signal.aborted; turn += 1) {
    try {
      if (turn % writeEvery !== 0) await read(keyring, db, ids)
      else if (turn % (writeEvery * insertEvery) === 0) await insert(keyring, db, ids)
      else await write(keyring, db, ids)
    } catch (error) {
      report.errors += 1
      report.firstError ??= error instanceof Error ? error.message : String(error)
    }
    await sleep(restMs)
  }
}

async function readIds(db: Db): Promise<Map<Family, string[]>> {
  const ids = new Map<Family, string[]>()
  for (const family of families) {
    const found = await db
      .collection<{ _id: string }>(family.collection)
      .find({}, { projection: { _id: 1 } })
      .toArray()
    ids.set(
      family,
      found.map(({ _id }) => _id),
    )
  }
  return ids
}

async function read(keyring: Keyring, db: Db, ids: Map<Family, string[]>): Promise<void> {
  const family = families[report.reads % families.length] ?? dnsAccounts
  const id = oneOf(ids.get(family) ?? [])
  const started = performance.now()
  const document = await db
    .collection<{ _id: string; sha256: string }>(family.collection)
    .findOne({ _id: id })
  const plaintext = await keyring.open(at(document, family.field), placeOf(family, id))
  report.slowestReadMs = Math.max(report.slowestReadMs, performance.now() - started)
  report.reads += 1
  if (digestOf(plaintext) !== document?.sha256) throw new Error(`"${id}" opened to another secret`)
}

/** A new token for an account, the old one overwritten. */
async function write(keyring: Keyring, db: Db, ids: Map<Family, string[]>): Promise<void> {
  const family = dnsAccounts
  const id = oneOf(ids.get(family) ?? [])
  const plaintext = family.make()
  const started = performance.now()
  const envelope = await keyring.seal(plaintext, placeOf(family, id))
  const sha256 = digestOf(plaintext)
  const before = await db
    .collection<{ _id: string }>(family.collection)
    .findOneAndUpdate(
      { _id: id },
      { $set: { [family.field]: envelope, sha256 } },
      { returnDocument: 'before' },
    )
  report.slowestWriteMs = Math.max(report.slowestWriteMs, performance.now() - started)
  report.writes += 1
  report.written[digestKey(family, id)] = sha256
  moved(at(before, `${family.field}.kek_version`), envelope.kek_version)
}

async function insert(keyring: Keyring, db: Db, ids: Map<Family, string[]>): Promise<void> {
  const family = dnsAccounts
  const id = `${family.prefix}-new-${(report.inserts + 1).toString()}`
  const started = performance.now()
  const [document] = await sealedDocuments(keyring, family, [id])
  if (document === undefined) return
  await db.collection<{ _id: string }>(family.collection).insertOne(document)
  report.slowestWriteMs = Math.max(report.slowestWriteMs, performance.now() - started)
  report.inserts += 1
  ids.get(family)?.push(id)
  report.written[digestKey(family, id)] = document.sha256
  moved(0, at(document, `${family.field}.kek_version`))
}

function moved(from: unknown, to: unknown): void {
  const move = `${String(from)}>${String(to)}`
  report.moves[move] = (report.moves[move] ?? 0) + 1
}

function oneOf(ids: readonly string[]): string {
  return ids[Math.floor(Math.random() * ids.length)] ?? ''
}
