import { randomBytes, randomUUID } from 'node:crypto'
import { Binary, Int32, MongoClient } from 'mongodb'
import { afterAll, inject } from 'vitest'
import { keyturnLayout } from '../../envelope/layout.ts'
import { wrapDigest } from '../../envelope/wrap-digest.ts'
import type { CollectionConfig } from '../../contracts/settings.ts'
import type { Bound } from '../../store/documents.ts'
import { readPage, type PageEntry } from '../../store/envelope-pages.ts'
import { createIndexes } from '../../store/indexes.ts'
import { completeInstall, insertIntent } from '../../store/kek-versions.ts'
import type { PageStep } from '../../store/page-step.ts'
import { insertRanges } from '../../store/rewrap-ranges.ts'
import { takeRange, type TakenRange } from '../../store/range-takeover.ts'
import { openRemoval, type NewRemoval } from '../../store/removal-requests.ts'
import { insertRotation } from '../../store/rotations.ts'
import { endSession } from '../../store/sessions.ts'
import { openStore, type Store } from '../../store/store.ts'
import { freshName } from '../support/fresh.ts'

export const certificates = 'certificates'
export const field = 'secret.key'
export const layout = keyturnLayout(field)
export const configured: CollectionConfig[] = [{ name: certificates, envelopes: [field] }]

/** For steps of a removal that needs no approvals. */
export const free = () => Promise.resolve()

/** A store on a database of its own, with its collections and indexes; dropped after the file. */
export async function testStore(collections: CollectionConfig[] = configured): Promise<Store> {
  const store = await openStore({ uri: inject('mongoUri'), database: freshName('store') })
  await createIndexes(store, collections)
  afterAll(async () => {
    await store.db.dropDatabase()
    await store.close()
  })
  return store
}

/** Another process, as far as MongoDB can tell: a client, and so sessions, of its own. */
export async function otherProcess(store: Store): Promise<Store> {
  const client = await MongoClient.connect(inject('mongoUri'))
  const other = await openStore({ uri: '', database: store.db.databaseName, client })
  afterAll(async () => client.close())
  return other
}

export function envelope(version: number, wrapped = randomBytes(48)) {
  return {
    format: new Int32(1),
    kek_version: new Int32(version),
    provider: 'env',
    dek_iv: new Binary(randomBytes(12)),
    dek_wrapped: new Binary(wrapped),
    iv: new Binary(randomBytes(12)),
    ciphertext: new Binary(randomBytes(40)),
  }
}

export function record(id: unknown, version: number) {
  return { _id: id, name: 'a record', secret: { key: envelope(version) } }
}

/** Replaces all records of the collection. */
export async function fill(store: Store, ids: readonly unknown[], version = 1): Promise<void> {
  const records = store.db.collection(certificates)
  await records.deleteMany({})
  await records.insertMany(ids.map((id) => record(id, version)) as never[], {
    ordered: false,
    // Else the driver puts an ObjectId in the place of a null.
    forceServerObjectId: true,
  })
}

export async function installVersion(store: Store, version: number): Promise<void> {
  const asked = { requestedBy: 'alice', madeBy: 'vm-a' }
  await insertIntent(store, {
    ...asked,
    version,
    provider: 'env',
    label: `KEK_V${version}`,
    keyId: null,
    origin: 'environment',
  })
  await completeInstall(
    store,
    version,
    {
      gcm: { ivMode: 'caller', ivLength: 12, tagBits: 128 },
      canary: {
        dekIv: randomBytes(12),
        dekWrapped: randomBytes(48),
        digest: randomBytes(32),
      },
      label: `KEK_V${version}`,
      keyId: null,
    },
    asked,
  )
}

export async function startRotation(store: Store, from = 1, to = 2): Promise<string> {
  const rotation = randomUUID()
  await insertRotation(store, {
    rotation,
    from,
    to,
    requestedBy: 'alice',
    reason: 'test',
    maxHsmCalls: 0,
    page: 50,
    shards: 1,
    check: 'all',
    workflowId: 'w',
    runId: null,
    worker: 'vm-a',
  })
  return rotation
}

/** A request for the removal of a version, as a command writes it. Answers its id. */
export async function askRemoval(
  store: Store,
  version: number,
  more: Partial<NewRemoval> = {},
): Promise<string> {
  const request = randomUUID()
  await openRemoval(store, {
    request,
    version,
    requestedBy: 'alice',
    afterMs: 0,
    destroyHsmKey: false,
    acceptQuarantine: false,
    withoutFence: false,
    ...more,
  })
  return request
}

export interface Sweep {
  rotation: string
  range: string
  taken: TakenRange
}

/** A rotation with one range over everything, taken by a first attempt. */
export async function startSweep(store: Store, from = 1, to = 2): Promise<Sweep> {
  const rotation = await startRotation(store, from, to)
  const range = '0-0'
  await insertRanges(store, rotation, [
    { range, collection: certificates, field, min: null, max: null },
  ])
  return { rotation, range, taken: await take(store, { rotation, range }) }
}

export async function take(
  store: Store,
  id: { rotation: string; range: string },
): Promise<TakenRange> {
  const taken = await takeRange(store, id)
  if (taken === null) throw new Error('the range is closed')
  afterAll(async () => endSession(taken.session))
  return taken
}

export async function page(store: Store, after: Bound | null, limit: number, version = 1) {
  return readPage(store, {
    collection: certificates,
    layout,
    version,
    after,
    until: null,
    limit,
  })
}

export async function allEntries(store: Store, limit: number, version = 1): Promise<PageEntry[]> {
  const entries: PageEntry[] = []
  let after: Bound | null = null
  for (let more = true; more;) {
    const next = await page(store, after, limit, version)
    entries.push(...next.entries)
    after = next.entries.at(-1)?.cursor ?? after
    more = next.more
  }
  return entries
}

export function wrappedOf(entry: PageEntry): Buffer {
  const { dek_wrapped: wrapped } = entry.wrap as { dek_wrapped: Binary }
  return Buffer.from(wrapped.value())
}

/** A page of new (random) wraps for these entries, behind the attempt's cursor. */
export function pageInput(
  sweep: Sweep,
  entries: readonly PageEntry[],
  more: Partial<PageStep> = {},
): PageStep {
  return {
    rotation: sweep.rotation,
    range: sweep.range,
    attempt: sweep.taken.attempt,
    collection: certificates,
    layout,
    oldCursor: sweep.taken.cursor,
    newCursor: entries.at(-1)?.cursor ?? sweep.taken.cursor,
    from: 1,
    to: 2,
    provider: 'env',
    updates: entries.map((entry) => ({
      id: entry.id,
      oldWrapped: wrappedOf(entry),
      dekIv: randomBytes(12),
      dekWrapped: randomBytes(48),
    })),
    quarantine: [],
    counters: { hsmCalls: entries.length * 3 },
    leaseCheck: () => undefined,
    ...more,
  }
}

export function accuse(entry: PageEntry, code = 'envelope-unreadable') {
  return { id: entry.id, digest: wrapDigest(entry.wrap), code, message: 'it does not open' }
}
