import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'

const providers = ['env', 'pkcs11'] as const

describe.each(providers)('a rotation with %s', (provider) => {
  const isMissing = provider === 'pkcs11' && inject('softhsm') === null
  let fleet: Fleet

  beforeAll(async () => {
    if (isMissing) return
    fleet = await openFleet({ provider })
    await fleet.fill(2_000)
  })
  afterAll(async () => {
    await fleet?.close()
  })

  test.skipIf(isMissing)(
    'outlives three kills of the worker that sweeps, and its counters are exact',
    async () => {
      const from = await fleet.active()
      const to = 3 - from
      const { [from]: total = 0 } = await fleet.census()
      const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '500')
      for (const [node, at] of [
        ['vm-a', 200],
        ['vm-b', 700],
        ['vm-a', 1_200],
      ] as const) {
        await fleet.rewrapped(at)
        await fleet.nodes.kill(node)
        await fleet.nodes.start(node)
      }
      const { code, json, stderr } = await rotation.end()
      expect({ code, stderr, outcome: json.outcome }).toMatchObject({
        code: 0,
        outcome: 'completed',
      })
      expect(json).toMatchObject({ remaining: 0, superseded: 0, quarantined: 0, rewrapped: total })
      expect(await fleet.verifyRecords()).toEqual({ [to]: total })
    },
  )
})
