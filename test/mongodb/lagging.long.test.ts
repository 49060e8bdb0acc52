import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Member, ReplicaSet } from '../../devstack/replica-set.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { throughElections } from '../support/fault-run.ts'
import { openFleet, type Fleet, type RunningCli } from '../support/fleet.ts'
import { replicaSet } from '../support/replica-set.ts'

const records = 200

describe('a set of three whose secondaries lag', () => {
  const started = replicaSet(['data', 'data', 'data'])
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    const config = { fleet: throughElections, rewrap: { page: 5, shards: 2 } }
    fleet = await openFleet({ provider: 'env', mongoUri: set.uri, config })
    await fleet.fill(records)
  })
  afterAll(() => fleet.close())

  const completes = async (rotation: RunningCli, to: number) => {
    const { code, json, stdout, stderr } = await rotation.end()
    expect({ code, json }, stdout + stderr).toMatchObject({
      code: 0,
      json: { outcome: 'completed', remaining: 0 },
    })
    expect(await sumCounters(fleet.store, json.rotationId)).toMatchObject({
      rewrapped: records,
      superseded: 0,
      quarantined: 0,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  }

  test('a rotation waits when the primary is killed and the last other member lags, and continues when that one is back', async () => {
    const primary = await set.primary()
    const [next, lagging] = set.members.filter((member) => member !== primary) as [Member, Member]
    lagging.freeze()
    const rotation = fleet.start('rotate', '--to-version', '2', '--max-rate', '1')
    await fleet.rewrapped(1)
    await primary.kill()
    await fleet.until('the worker does not notice', async () =>
      (await fleet.nodes.log('vm-a')).includes('waits for mongodb'),
    )
    lagging.thaw()
    // The one that lags has none of the rotation, so it gets no vote.
    expect(await set.primary()).toBe(next)
    const began = performance.now()
    const { rewrapped } = await fleet.counters()
    await fleet.rewrapped(rewrapped + 1)
    console.log(`continued ${((performance.now() - began) / 1000).toFixed(1)} s after the election`)
    await primary.restart()
    await set.healthy()
    await fleet.must('rate', '0')
    await completes(rotation, 2)
  })

  test('a rotation completes while both secondaries are a second late', async () => {
    await set.delaySecondaries(1)
    try {
      const began = performance.now()
      await completes(fleet.start('rotate', '--to-version', '1'), 1)
      console.log(`a rotation took ${((performance.now() - began) / 1000).toFixed(1)} s`)
    } finally {
      await set.delaySecondaries(0)
    }
  })
})
