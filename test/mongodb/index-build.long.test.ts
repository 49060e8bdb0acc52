import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { MongoClient } from 'mongodb'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import { wantedIndexes } from '../../store/index-faults.ts'
import { keyturnLayout } from '../../envelope/layout.ts'
import { limits } from '../../store/limits.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { replicaSet } from '../support/replica-set.ts'

/** By default an index build waits for all members with data, so one that is down blocks it. */
describe('three members that hold data, one of them down', () => {
  const started = replicaSet(['data', 'data', 'data'])
  const [{ collection, field }] = places
  const wanted = wantedIndexes(keyturnLayout(field)).version
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    fleet = await openFleet({ provider: 'env', nodes: [], versions: [], mongoUri: set.uri })
    // An index of an empty collection is built immediately.
    await fleet.store.db.collection(collection).insertOne({ at: 'rest' })
  })
  afterAll(() => fleet.close())

  const loseMember = async () => {
    const primary = await set.primary()
    const other = set.members.find((member) => member !== primary)
    onTestFinished(async () => {
      await other?.restart()
      await set.healthy()
    })
    await other?.kill()
  }

  test('setup builds its index on the members that are up', async () => {
    await loseMember()
    await fleet.store.db.collection(collection).dropIndex(wanted.name)
    await fleet.must('setup')
    expect((await fleet.cli('doctor')).json['checks']).toContainEqual(
      expect.objectContaining({ check: 'indexes', state: 'ok' }),
    )
  })

  test.each([
    ['of our name', wanted.name],
    ['of another name', 'mine'],
  ])('setup ends within seconds and reports that the index is being built, %s', async (_, name) => {
    const client = await MongoClient.connect(set.uri)
    onTestFinished(() => client.close())
    const theirs = client.db(fleet.install).collection(collection)
    await theirs.dropIndex(wanted.name).catch(() => theirs.dropIndex('mine'))
    let building: Promise<unknown> = Promise.resolve()
    onTestFinished(async () => {
      // The member is back, so the build ends.
      await building
      expect(await fleet.must('setup')).toMatchObject({ settings: 'unchanged' })
    })
    await loseMember()
    building = theirs.createIndex(wanted.key, { name }, {})
    await fleet.until('the build does not begin', async () => {
      const { json } = await fleet.cli('doctor')
      return JSON.stringify(json['checks']).includes('still being built')
    })
    const setup = fleet.start('setup')
    const began = performance.now()
    const { code, json, stderr } = await setup.end()
    expect(performance.now() - began).toBeLessThan(limits.othersIndex + 40_000)
    const why = `index "${name}" on "${collection}" is still being built`
    expect({ code, error: json.error }).toMatchObject({
      code: 3,
      error: {
        code: 'index-missing',
        message: why,
        hint: expect.stringContaining('db.currentOp()') as string,
      },
    })
    expect(stderr).toContain(`waits for mongodb: ${why}`)
  })
})
