import { afterAll, beforeAll, describe, test } from 'vitest'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import { FaultRun, throughRollbacks } from '../support/fault-run.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { replicaSet } from '../support/replica-set.ts'
import { rolledBack } from '../support/set-faults.ts'
import { installUnder, removeUnder, rotateUnder } from './steps-under-fault.ts'

const records = 400

describe('a set of three whose primary is cut off, and rolls back', () => {
  const started = replicaSet(['data', 'data', 'data'], { links: true })
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    const removal = { backup_window: '0s', undo_window: '10m' }
    const rewrap = { page: 5, shards: 2 }
    const config = { fleet: throughRollbacks, removal, rewrap }
    fleet = await openFleet({ provider: 'env', versions: [1], mongoUri: set.uri, config })
    await fleet.fill(records)
  })
  afterAll(() => fleet.close())

  test('what it wrote last in each step is made again', { timeout: 900_000 }, async () => {
    const run = new FaultRun(set, fleet, rolledBack(set, fleet))
    try {
      await installUnder(run, 2)
      await rotateUnder(run, { from: 1, to: 2, records })
      await removeUnder(run, 1, records)
    } finally {
      console.log(run.figures())
    }
  })
})
