/**
 * The bare loop and its pieces, without Temporal: `node dist/bench/bare-loop.js --provider env --envelopes 100000`.
 * One run on one set of records: the walk alone, the token alone (same batches, in memory), the walk and the writes
 * with a token that costs nothing, and the whole sweep. Prints JSON with the machine's load, so that figures of a busy
 * machine are seen as such.
 */
import { randomBytes } from 'node:crypto'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'
import { dekAad } from '../envelope/aad.ts'
import { parseWrapFields } from '../envelope/envelope.ts'
import { createLog } from '../observability/log.ts'
import type { KekProvider, RewrapItem } from '../providers/provider.ts'
import type { Bound } from '../store/documents.ts'
import { readPage } from '../store/envelope-pages.ts'
import { insertRotation } from '../store/rotations.ts'
import type { Store } from '../store/store.ts'
import { planShards } from '../sweep/shard-plan.ts'
import { sweepShard } from '../sweep/sweep-shard.ts'
import {
  benchCollections,
  fillRecords,
  install,
  openBenchProvider,
  place,
  withBenchStore,
} from './bench-store.ts'

const { values } = parseArgs({
  options: {
    provider: { type: 'string', default: 'env' },
    envelopes: { type: 'string', default: '100000' },
    shards: { type: 'string', default: '3' },
    page: { type: 'string', default: '1000' },
    check: { type: 'string', default: 'all' },
    mongodb: { type: 'string' },
  },
})
const envelopes = Number(values.envelopes)
const shards = Number(values.shards)
const page = Number(values.page)
const check = values.check as CheckMode
const log = createLog({ level: 'warn', pretty: false })

/** Envelopes a second, and the processor time that this process took for each, in microseconds. */
async function timed(work: () => Promise<number>) {
  const load = loadavg()[0]
  const began = performance.now()
  const cpu = process.cpuUsage()
  const done = await work()
  const { user, system } = process.cpuUsage(cpu)
  const seconds = (performance.now() - began) / 1_000
  return {
    perSecond: Math.round(done / seconds),
    ownMicroseconds: Math.round(((user + system) / done) * 10) / 10,
    load,
  }
}

async function walk(store: Store): Promise<RewrapItem[]> {
  const items: RewrapItem[] = []
  let after: Bound | null = null
  for (let more = true; more;) {
    const request = { ...place, version: 1, after, until: null, limit: page }
    const read: Awaited<ReturnType<typeof readPage>> = await readPage(store, request)
    for (const { idBytes: id, wrap } of read.entries) {
      const { dekIv: iv, dekWrapped: wrapped } = parseWrapFields(wrap)
      const aad = (version: number) => dekAad(install, place.collection, place.field, id, version)
      items.push({ iv, wrapped, aadFrom: aad(1), aadTo: aad(2) })
    }
    after = read.entries.at(-1)?.cursor ?? after
    more = read.more
  }
  return items
}

/** All pages, as many of them at once as there are shards. */
async function rewrapAll(provider: KekProvider, items: RewrapItem[]): Promise<number> {
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      const some = items.slice(next, (next += page))
      await provider.rewrap({ from: 1, to: 2, check, items: some })
    }
  }
  await Promise.all(Array.from({ length: shards }, lane))
  return items.length
}

/** A token that takes no time: what is left is reading, writing and our own work. */
function freeToken(name: ProviderName): KekProvider {
  const iv = randomBytes(12)
  const wrapped = randomBytes(48)
  const rewrap: KekProvider['rewrap'] = ({ items }) =>
    Promise.resolve({ outcomes: items.map(() => ({ ok: true, iv, wrapped })), calls: 0 })
  return { name, rewrap } as unknown as KekProvider
}

async function sweepAll(store: Store, provider: KekProvider, rotation: string): Promise<number> {
  const row = { rotation, from: 1, to: 2, requestedBy: 'bench', reason: '', maxHsmCalls: 0 }
  await insertRotation(store, { ...row, workflowId: rotation, runId: null })
  const plan = { rotation, collections: benchCollections, version: 1, shards }
  const planned = await planShards(store, plan)
  const lease = {
    requireLease: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: () => undefined,
  }
  const results = await Promise.all(
    planned.map(({ shard }) =>
      sweepShard({
        ...{ store, provider, lease, install, rotation, shard, from: 1, to: 2, page, check, log },
        ...{ ratePerSecond: 0, maxHsmCalls: 0, deadline: Infinity, tail: false },
        signal: new AbortController().signal,
        onPage: () => undefined,
      }),
    ),
  )
  return results.reduce((sum, { counters }) => sum + counters.rewrapped, 0)
}

const providerName = values.provider as ProviderName
await withBenchStore(values.mongodb ?? null, async (store, folder) => {
  const provider = await openBenchProvider(providerName, folder)
  try {
    await fillRecords(store, provider, envelopes)
    let items: RewrapItem[] = []
    const reads = await timed(async () => (items = await walk(store)).length)
    const token = await timed(() => rewrapAll(provider, items))
    items = []
    const sweep = await timed(() => sweepAll(store, provider, 'sweep'))
    await store.db.dropDatabase()
    await fillRecords(store, provider, envelopes)
    const freeSweep = await timed(() => sweepAll(store, freeToken(providerName), 'free'))
    const rss = Math.round(process.memoryUsage().rss / 2 ** 20)
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
    const input = { provider: providerName, envelopes, shards, page, check }
    const figures = { walk: reads, token, sweepWithFreeToken: freeSweep, sweep }
    console.log(JSON.stringify({ machine, input, figures, rssMegabytes: rss }, null, 2))
  } finally {
    await provider.close()
  }
})
