import { describe, expect, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { followersAtMost, KeystoreWatcher } from '../../keyring/keystore-watcher.ts'
import { silentLog } from '../../observability/log.ts'
import type { Store } from '../../store/store.ts'
import { keystore } from '../../store/keystore.ts'
import { waitUntil as until } from '../../devstack/wait-until.ts'
import { openTestFleet, type TestFleet } from './test-fleet.ts'

/** So long that no regular heartbeat falls into a test. */
const slow = { heartbeatMs: 600_000, leaseMs: 1_800_000, expireMs: 2_400_000, proveMs: 1e9 }

const openSlowFleet = () => openTestFleet({ versions: [1] })

const waitUntil = (what: string, ask: () => boolean | Promise<boolean>) =>
  until(what, ask, { withinMs: 60_000, everyMs: 20 })

describe('a process of the fleet, between two heartbeats', () => {
  test('follows a new version and the switch immediately', async () => {
    const fleet = await openSlowFleet()
    const member = await fleet.member({ timings: slow })
    await watching(fleet)
    await fleet.install(2)
    await waitUntil('version 2 is not loaded', () => member.state().loaded.includes(2))
    await fleet.activate(2)
    await waitUntil('version 2 is not followed', () => member.state().active?.version === 2)
    // Settle waits for this: its heartbeat has the new epoch before the next one is due.
    const isTold = async () => (await fleet.heartbeats())[0]?.epoch === 2
    await waitUntil('the new epoch is not reported', isTold)
    await fleet.setRemoval(1, true)
    await waitUntil('version 1 is not unloaded', () => !member.state().loaded.includes(1))
  })

  test('is not woken by the counted wraps of other processes', async () => {
    const fleet = await openSlowFleet()
    const member = await fleet.member({ timings: slow })
    await watching(fleet)
    let beats = 0
    member.on('beat', () => (beats += 1))
    await keystore.versions(fleet.store).updateOne({ _id: 1 }, { $inc: { wraps: 5 } })
    // A switch is two rounds of one beat. It follows the count in the same stream, so when it has arrived the count has too.
    await fleet.activate(1)
    const isTold = async () => (await fleet.heartbeats())[0]?.epoch === 2
    await waitUntil('the switch is not heard', async () => (await isTold()) && beats >= 2)
    expect(beats).toBe(2)
  })

  test('ends cleanly: its stream is gone from the server', async () => {
    const fleet = await openSlowFleet()
    const member = await fleet.member({ timings: slow })
    await watching(fleet)
    const before = performance.now()
    await member.leave()
    expect(performance.now() - before).toBeLessThan(10_000)
    // MongoDB closes a waiting cursor when its oplog next grows; in an idle database this takes 10 to 20 s.
    await waitUntil('the stream stays open', async () => {
      await fleet.store.db.collection('grows').insertOne({})
      return (await streams(fleet)) === 0
    })
  })
})

test('a stream is open only in a small fleet, because MongoDB reads its whole oplog for each', async () => {
  const fleet = await openSlowFleet()
  const { store } = fleet
  const watcher = new KeystoreWatcher({
    store,
    onChange: () => undefined,
    log: silentLog,
    retryMs: 0,
  })
  const ids = Array.from({ length: followersAtMost + 1 }, (_, at) => `vm-${at}/1`)
  const beats = store.db.collection<{ _id: string }>(collections.heartbeats)
  await beats.insertMany(ids.map((_id) => ({ _id })))
  await watcher.follow()
  expect(watcher.isFollowing).toBe(false)
  await beats.deleteOne({ _id: 'vm-0/1' })
  await watcher.follow()
  expect(watcher.isFollowing).toBe(true)
  // The fleet has grown: only heartbeats show the switch now.
  await beats.insertOne({ _id: 'vm-0/1' })
  await watcher.follow()
  expect(watcher.isFollowing).toBe(false)
  await watcher.close()
})

test('without the right to a change stream, the watcher does nothing and throws nothing', async () => {
  const failing = {
    db: {
      collection: () => ({ estimatedDocumentCount: async () => 1 }),
      watch: () => {
        throw new Error('not authorized to execute command aggregate')
      },
    },
  } as unknown as Store
  const watcher = new KeystoreWatcher({ store: failing, onChange: () => undefined, log: silentLog })
  await watcher.follow()
  expect(watcher.isFollowing).toBe(false)
  await watcher.close()
})

/** Change streams of this database that wait on the server. */
async function streams({ store, name }: TestFleet): Promise<number> {
  const operations = await store.client
    .db('admin')
    .aggregate([
      { $currentOp: { allUsers: true, idleCursors: true } },
      {
        $match: {
          ns: { $regex: `^${name}\\.` },
          'cursor.originatingCommand.pipeline.0.$changeStream': { $exists: true },
        },
      },
    ])
    .toArray()
  return operations.length
}

async function watching(fleet: TestFleet): Promise<void> {
  await waitUntil('no change stream is open', async () => (await streams(fleet)) > 0)
}
