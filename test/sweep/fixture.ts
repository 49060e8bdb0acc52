import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { Binary, BSON, Int32 } from 'mongodb'
import type { RangePlan } from '../../contracts/rewrap.ts'
import { dataAad, dekAad } from '../../envelope/aad.ts'
import { openData, sealData } from '../../envelope/data.ts'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { idBytes, idBytesFromRaw } from '../../envelope/record-id.ts'
import { createLog, type Log } from '../../observability/log.ts'
import { openEnvProvider } from '../../providers/env/env-provider.ts'
import type { KekProvider } from '../../providers/provider.ts'
import { createIndexes } from '../../store/indexes.ts'
import { insertRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { openStore, type Store } from '../../store/store.ts'
import { planRanges } from '../../sweep/range-plan.ts'
import { rewrapPages } from '../../sweep/rewrap-pages.ts'
import type { SweepOptions, SweepResult } from '../../sweep/sweep-options.ts'
import { freshName } from '../support/fresh.ts'

export const collection = 'records'
export const field = 'secret'

/** As it is stored; most tests have string ids. */
export interface SealedRecord {
  _id: string
  secret: SealedEnvelope
}

export interface SealedEnvelope {
  format: Int32
  kek_version: Int32
  provider: string
  dek_iv: Binary
  dek_wrapped: Binary
  iv: Binary
  ciphertext: Binary
}

export interface Fixture {
  store: Store
  install: string
  rotation: string
  provider: KekProvider
  log: Log
  /** Wraps that the sweeps reported, by version. */
  wraps: Map<number, number>
  /** Seals one record a given id under `version`, as the keyring does, without writing it. */
  seal(ids: readonly unknown[], version?: number): Promise<SealedRecord[]>
  /** Inserts as given: `insertMany` would replace an `_id` of null. */
  insert(documents: readonly object[]): Promise<void>
  /** Seals and inserts. */
  fill(ids: readonly unknown[], version?: number): Promise<SealedRecord[]>
  plan(ranges?: number, pass?: number): Promise<RangePlan[]>
  sweep: (range: string, options?: Partial<SweepOptions>) => Promise<SweepResult>
  /** Envelopes by version, raw. */
  census(): Promise<Record<number, number>>
  counters(): ReturnType<typeof sumCounters>
  /** Opens wrap and data of each record; returns how many did under each version. Throws for one that does not. */
  openAll(): Promise<Record<number, number>>
  close(): Promise<void>
}

export async function openFixture(
  options: { provider?: (install: string) => Promise<KekProvider>; maxHsmCalls?: number } = {},
): Promise<Fixture> {
  const install = freshName('fixture')
  const store = await openStore({ uri: inject('mongoUri'), database: freshName('sweep') })
  const provider = await (options.provider ?? envProvider)(install)
  await createIndexes(store, [{ name: collection, envelopes: [field] }])
  const rotation = freshName('rotation')
  await insertRotation(store, {
    rotation,
    from: 1,
    to: 2,
    requestedBy: 'test',
    reason: '',
    maxHsmCalls: options.maxHsmCalls ?? 0,
    page: 50,
    shards: 1,
    check: 'all',
    workflowId: rotation,
    runId: null,
    worker: 'vm-a',
  })
  return fixture(store, provider, install, rotation)
}

/** Both versions ready, with random keys. */
export async function envProvider(install: string): Promise<KekProvider> {
  const keks = new Map([1, 2].map((version) => [version, randomBytes(32)]))
  const provider = openEnvProvider({ install, variablePrefix: 'TEST_KEK_V', keks })
  for (const version of [1, 2]) {
    const label = provider.ceremony.labelOf(version)
    const gcm = await provider.ceremony.gcmProfile()
    const canary = await provider.ceremony.makeCanary(version, label, null, gcm)
    await provider.load({ version, provider: 'env', label, keyId: null, gcm, canary })
  }
  return provider
}

function fixture(store: Store, provider: KekProvider, install: string, rotation: string): Fixture {
  const log = createLog({ level: 'silent', pretty: false })
  const records = store.db.collection(collection)
  const wraps = new Map<number, number>()
  const lease = {
    requireLease: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: (version: number, made: number) =>
      void wraps.set(version, (wraps.get(version) ?? 0) + made),
  }
  const self: Fixture = {
    store,
    install,
    rotation,
    provider,
    log,
    wraps,
    seal: (ids, version = 1) => seal(provider, install, ids, version),
    async insert(documents) {
      for (let at = 0; at < documents.length; at += 1_000) {
        const some = documents.slice(at, at + 1_000)
        await store.db.command({ insert: collection, documents: some, ordered: true })
      }
    },
    async fill(ids, version = 1) {
      const documents: SealedRecord[] = []
      for (let at = 0; at < ids.length; at += 5_000) {
        documents.push(...(await self.seal(ids.slice(at, at + 5_000), version)))
      }
      await self.insert(documents)
      return documents
    },
    plan: (ranges = 1, pass = 0) =>
      planRanges(store, {
        rotation,
        collections: [{ name: collection, envelopes: [field] }],
        version: 1,
        ranges,
        pass,
      }),
    sweep: (range, options = {}) =>
      rewrapPages({
        store,
        provider,
        lease,
        install,
        rotation,
        range,
        from: 1,
        to: 2,
        page: 100,
        check: 'all',
        ratePerSecond: 0,
        maxHsmCalls: 0,
        deadline: Infinity,
        signal: new AbortController().signal,
        tail: false,
        onPage: () => undefined,
        log,
        ...options,
      }),
    async census() {
      const groups = await records
        .aggregate<{ _id: number; count: number }>([
          { $group: { _id: `$${field}.kek_version`, count: { $sum: 1 } } },
        ])
        .toArray()
      return Object.fromEntries(groups.map(({ _id, count }) => [_id, count]))
    },
    counters: () => sumCounters(store, rotation),
    openAll: () => openAll(store, provider, install),
    async close() {
      await provider.close()
      await store.db.dropDatabase()
      await store.close()
    },
  }
  return self
}

async function seal(
  provider: KekProvider,
  install: string,
  ids: readonly unknown[],
  version: number,
) {
  const deks = ids.map((id) => ({
    dek: randomBytes(32),
    aad: dekAad(install, collection, field, idBytes(id), version),
  }))
  const wrapped = await provider.wrap(version, deks)
  return ids.map((id, index) => {
    const { iv: dekIv, wrapped: dekWrapped } = wrapped[index]!
    const data = sealData(
      deks[index]!.dek,
      plaintextOf(idBytes(id)),
      dataAad(install, collection, field, idBytes(id)),
    )
    return {
      _id: id as string,
      secret: {
        format: new Int32(1),
        kek_version: new Int32(version),
        provider: provider.name,
        dek_iv: new Binary(dekIv),
        dek_wrapped: new Binary(dekWrapped),
        iv: new Binary(data.iv),
        ciphertext: new Binary(data.ciphertext),
      },
    }
  })
}

function plaintextOf(id: Buffer): Buffer {
  return Buffer.from(`secret of ${id.toString('hex')}`)
}

async function openAll(store: Store, provider: KekProvider, install: string) {
  const opened: Record<number, number> = {}
  const records = store.db.collection(collection).find<Buffer>({}, { raw: true })
  for await (const record of records) {
    const id = idBytesFromRaw(record)
    const envelope = parseEnvelope(BSON.deserialize(record, { promoteValues: false })[field])
    const { kek_version: version, dek_iv: iv, dek_wrapped: wrapped } = envelope
    const aad = dekAad(install, collection, field, id, version)
    const [dek] = await provider.unwrap(version, [{ iv, wrapped, aad }])
    if (!Buffer.isBuffer(dek)) throw dek ?? new Error('no answer')
    const data = openData(dek, envelope, dataAad(install, collection, field, id))
    if (!data.equals(plaintextOf(id))) throw new Error('another plaintext')
    opened[version] = (opened[version] ?? 0) + 1
  }
  return opened
}

/** `count` ids that sort in order: r000000, … */
export function names(count: number, prefix = 'r'): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${String(index).padStart(6, '0')}`)
}
