import fc from 'fast-check'
import { Binary, type Document } from 'mongodb'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ControlDeps } from '../../activities/deps.ts'
import { readFleet } from '../../activities/fleet.ts'
import { fleetNodes } from '../../client/views/nodes.ts'
import { liveWorkers } from '../../client/views/workers.ts'
import { heartbeatFact } from '../../protocol/facts.ts'
import { provenInAll } from '../../protocol/proven-in-all.ts'
import { isReady, fleetReadiness } from '../../protocol/readiness.ts'
import { observe, nothingObserved } from '../../protocol/settle.ts'
import { insertFirstActive, readActive } from '../../store/kek-active.ts'
import { identityOf, insertInstall, readInstall } from '../../store/kek-install.ts'
import { readSettings, writeSettings } from '../../store/kek-settings.ts'
import { kekDescriptor, readVersion, readVersions } from '../../store/kek-versions.ts'
import { collections } from '../../contracts/names.ts'
import type { FleetSettings } from '../../contracts/settings.ts'
import { versionState } from '../../protocol/version-state.ts'
import { decommissionNode, expectNode, seeNode } from '../../store/fleet-nodes.ts'
import { keystore } from '../../store/keystore.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { serverNow } from '../../store/store.ts'
import { anyValue } from './odd.ts'
import { configured, installVersion, testStore } from './support.ts'

/** Documents that others may write: any value and size in any field ends in a named process, never in a TypeError. */

const store = await testStore()
const fleet = { heartbeatMs: 1_000, leaseMs: 3_000, expireMs: 60_000 }
const deps = { store, config: { fleet } } as unknown as ControlDeps
const huge = 'x'.repeat(3_000_000)
const anything = fc.oneof(
  { arbitrary: anyValue, weight: 8 },
  fc.constantFrom<unknown>(huge, new Binary(Buffer.alloc(3_000_000)), new Date(NaN), NaN, -1, ''),
)

async function wellFormed(): Promise<Document> {
  const at = await serverNow(store)
  const later = new Date(at.getTime() + 60_000)
  return {
    _id: 'vm-x/1',
    node: 'vm-x',
    pid: 9,
    role: 'app',
    started_at: at,
    at,
    expires_at: later,
    lease_until: later,
    current: 1,
    epoch: 1,
    settings: new Binary(Buffer.alloc(32)),
    loaded: [{ version: 1, proven_at: at, answers: 'q' }],
    not_loaded: [{ version: 2, reason: 'wrong-key', answers: null }],
  }
}

beforeEach(async () => {
  await keystore.heartbeats(store).deleteMany({})
  await keystore.nodes(store).deleteMany({})
})

/** All that looks at the fleet, and the one process that is there. */
async function looks() {
  const seen = await readFleet(deps)
  expect(JSON.stringify(seen).length).toBeLessThan(200_000)
  const nodes = fleetReadiness({ ...seen, target: 1, nonces: ['q'], answers: [] })
  observe(nothingObserved, seen.heartbeats, 1)
  expect(JSON.stringify(await fleetNodes(store)).length).toBeLessThan(200_000)
  await liveWorkers(store)
  return { seen, nodes }
}

describe('a heartbeat', () => {
  test('with any content is one process by name; one that cannot be read is stale and proves nothing', async () => {
    const good = await wellFormed()
    const members = Object.keys(good).filter((name) => name !== '_id')
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...members), anything, async (member, value) => {
        const beats = keystore.heartbeats(store)
        await beats.deleteMany({})
        await beats.insertOne({ ...(await wellFormed()), [member]: value } as never)
        const { seen, nodes } = await looks()
        const [one] = seen.heartbeats
        expect(one).toMatchObject({ id: 'vm-x/1', node: 'vm-x' })
        if (one?.malformed === undefined) return
        expect(one.malformed.what.split('.')[0]).toBe(member)
        expect(nodes).toMatchObject([{ node: 'vm-x', ready: false, reason: 'stale' }])
        const promoted = provenInAll(seen.heartbeats, 1, { nonces: ['q'], met: [one.id] })
        expect(promoted?.message).toContain(`vm-x (malformed heartbeat: ${member}`)
      }),
      { numRuns: 40 },
    )
  })

  test('may have any _id and any size', async () => {
    await fc.assert(
      fc.asyncProperty(anything, async (value) => {
        if (Array.isArray(value) || value === undefined || value instanceof RegExp) return
        await keystore.heartbeats(store).deleteMany({})
        const row = { ...(await wellFormed()), _id: value }
        const isStored = await keystore
          .heartbeats(store)
          .insertOne(row as never)
          .then(() => true)
          .catch(() => false)
        if (!isStored) return
        const { nodes } = await looks()
        expect(nodes).toMatchObject([{ reason: 'stale', ready: false }])
      }),
      { numRuns: 20 },
    )
  })

  test('whose expiry is not a date gets one, so that TTL deletes it; other processes are unaffected', async () => {
    const beats = keystore.heartbeats(store)
    const good = await wellFormed()
    await beats.insertMany([
      { ...good, expires_at: 'soon', _id: 'vm-y/1', node: 'vm-y' },
      { ...good, at: null, expires_at: new Date(8e15), _id: 'vm-z/1', node: 'vm-z' },
      good,
    ] as never)
    const { nodes } = await looks()
    expect(nodes.map(({ node, reason }) => [node, reason])).toEqual([
      ['vm-x', null],
      ['vm-y', 'stale'],
      ['vm-z', 'stale'],
    ])
    expect(isReady(nodes)).toBe(false)
    const latest = Date.now() + 2 * fleet.expireMs
    for (const row of await beats.find().toArray()) {
      expect(row.expires_at.getTime()).toBeLessThan(latest)
    }
  })

  test('that cannot be read and still changes never counts as settled', async () => {
    const beats = keystore.heartbeats(store)
    await beats.insertOne({ ...(await wellFormed()), pid: 'one', at: 'now' } as never)
    const facts = async () => {
      const now = await serverNow(store)
      return (await readHeartbeats(store)).map((row) => heartbeatFact(row, now))
    }
    const first = observe(nothingObserved, await facts(), 0)
    await beats.updateOne({ _id: 'vm-x/1' }, { $set: { at: 'later' } } as never)
    const second = observe(first, await facts(), 5_000)
    expect(second.processes['vm-x/1']?.sinceMs).toBe(5_000)
    expect(observe(second, await facts(), 9_000).processes['vm-x/1']?.sinceMs).toBe(5_000)
  })
})

describe('a row of the roster', () => {
  test('with any content keeps its name, and is repaired by nodes expect, decommission or its process', async () => {
    const members = ['kind', 'first_seen', 'last_seen', 'decommissioned_at']
    const mend = {
      expect: () => expectNode(store, 'vm-x', 'ann'),
      decommission: () => decommissionNode(store, 'vm-x', 'ann'),
      see: () => seeNode(store, 'vm-x', 'host'),
    }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...members),
        anything,
        fc.constantFrom(...Object.keys(mend)),
        async (member, value, by) => {
          const rows = keystore.nodes(store)
          await rows.deleteMany({})
          const at = await serverNow(store)
          const row = { _id: 'vm-x', kind: 'host', first_seen: at, last_seen: at }
          const members = { decommissioned_at: null, decommissioned_by: null, [member]: value }
          await rows.insertOne({ ...row, ...members } as never)
          const { seen, nodes } = await looks()
          expect(seen.roster).toHaveLength(1)
          expect(seen.roster[0]).toMatchObject({ node: 'vm-x' })
          const { kind, decommissioned } = seen.roster[0]!
          if (kind === 'host' && !decommissioned) {
            expect(nodes).toMatchObject([{ node: 'vm-x', reason: 'missing' }])
          }
          if (decommissioned && by === 'see') return
          await mend[by as keyof typeof mend]()
          const [after] = (await readFleet(deps)).roster
          expect(after?.decommissioned).toBe(by === 'decommission')
        },
      ),
      { numRuns: 20 },
    )
  })
})

describe("the keystore's own documents", () => {
  test('with any content are read, or refused by collection and _id', async () => {
    const row = await insertInstall(store, { name: 'fuzz', created_by: 'ann' })
    await writeSettings(store, {
      settings: { collections: configured, fleet } as unknown as FleetSettings,
      by: 'ann',
    })
    await installVersion(store, 1)
    await insertFirstActive(store, 1)
    const reads: Record<string, () => Promise<unknown>> = {
      [collections.install]: async () => identityOf((await readInstall(store)) ?? row),
      [collections.settings]: async () => (await readSettings(store))?.sha256.toString('hex'),
      [collections.active]: () => readActive(store),
      [collections.versions]: async () => {
        const active = await readActive(store)
        const rows = await readVersions(store)
        await readVersion(store, 1)
        return rows.map((each) => [versionState(each, active?.version ?? 1), kekDescriptor(each)])
      },
    }
    const goods = new Map<string, Document>()
    for (const name of Object.keys(reads)) {
      goods.set(name, (await store.db.collection(name).findOne({}))!)
    }
    const places = [...goods].flatMap(([name, good]) =>
      Object.keys(good).flatMap((member) => (member === '_id' ? [] : [[name, member] as const])),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), anything, async ([name, member], value) => {
        const good = goods.get(name)!
        const rows = store.db.collection(name)
        await rows.replaceOne({ _id: good._id as never }, { ...good, [member]: value })
        try {
          await reads[name]!()
        } catch (error) {
          // The schema is checked before the rest of its document.
          if (member === 'schema') {
            expect((error as { code: string }).code).toMatch(/^schema-(older|newer)$/)
            return
          }
          expect(error).toMatchObject({ code: 'document-malformed' })
          const text = `document "${String(good._id)}" of ${name} is malformed: "${member}`
          expect((error as Error).message).toContain(text)
        } finally {
          await rows.replaceOne({ _id: good._id as never }, good)
        }
      }),
      { numRuns: 40 },
    )
  })
})
