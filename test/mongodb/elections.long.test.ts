import { afterAll, beforeAll, describe, test } from 'vitest'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import { FaultRun, throughElections } from '../support/fault-run.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { replicaSet } from '../support/replica-set.ts'
import { killed, stepDown } from '../support/set-faults.ts'
import { installUnder, removeUnder, rotateUnder } from './steps-under-fault.ts'

/**
 * A set of three loses its primary in every phase of a rotation, in an installation and in a removal. Each fault has its
 * versions: it installs one, rotates to it, and removes the one before.
 */

const records = 400

describe('a set of three that loses its primary', () => {
  const started = replicaSet(['data', 'data', 'data'], { links: true })
  let set: ReplicaSet
  let fleet: Fleet

  beforeAll(async () => {
    set = started()
    const removal = { backup_window: '0s', undo_window: '10m' }
    const rewrap = { page: 5, shards: 2 }
    const config = { fleet: throughElections, removal, rewrap }
    fleet = await openFleet({ provider: 'env', versions: [1], mongoUri: set.uri, config })
    await fleet.fill(records)
  })
  afterAll(() => fleet.close())

  test.each([
    ['the primary steps down', () => stepDown(set)],
    ['the primary is killed', () => killed(set)],
  ])('every step continues: %s', { timeout: 600_000 }, async (_, faultOf) => {
    const from = await fleet.active()
    const fault = faultOf()
    const run = new FaultRun(set, fleet, fault)
    const to = from + 1
    try {
      await installUnder(run, to)
      await rotateUnder(run, { from, to, records })
      await removeUnder(run, from, records)
    } finally {
      console.log(run.figures())
    }
  })
})
