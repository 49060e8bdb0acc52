import { afterAll, beforeAll, expect, test } from 'vitest'
import type { HsmBudget } from '../../contracts/rotation-plan.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { heartbeats } from '../support/quiet.ts'

/** Compares the costs of `rotate --dry-run` with the calls that the worker's pool has counted (`/metrics`). */
let fleet: Fleet
const records = 400
const leaseSeconds = 4
const callsPerProof = 3

beforeAll(async () => {
  fleet = await openFleet({ provider: 'pkcs11', nodes: ['vm-a'] })
  await fleet.fill(records)
})
afterAll(() => fleet.close())

/** Crypt calls of the worker since its start. `/metrics` is rendered once a second. */
async function counted(): Promise<number> {
  await heartbeats(fleet, 2)
  const log = await fleet.nodes.log('vm-a')
  const up = log.split('\n').findLast((line) => line.includes('worker is up')) ?? '{}'
  const { listen } = JSON.parse(up) as { listen: string }
  const page = await (await fetch(`http://${listen}/metrics`)).text()
  return Number(/^keyturn_hsm_calls_total\{[^}]*\} (\d+)$/m.exec(page)?.[1])
}

test.each([
  { check: 'all', spread: 0 },
  // One in 16 of 400 at random: 25, with six times the standard deviation of 5 on each side.
  { check: 'sampled', spread: 30 },
  { check: 'none', spread: 0 },
])(
  'with check: $check a rotation makes as many HSM calls as the dry run shows',
  async ({ check, spread }) => {
    const config = await fleet.writeConfig(check, { rewrap: { check } })
    await fleet.nodes.stop('vm-a')
    await fleet.nodes.start('vm-a', { config })
    const to = (await fleet.active()) === 1 ? 2 : 1
    const asked = ['--config', config, '--to-version', `${to}`]
    const plan = await fleet.must('rotate', '--dry-run', ...asked)
    const budget = plan['hsmBudget'] as HsmBudget
    expect(plan).toMatchObject({ envelopes: records, hsmCalls: budget.rotation })

    const before = await counted()
    const began = performance.now()
    const { rewrapped, hsmCalls } = await fleet.must('rotate', ...asked)
    const leases = (performance.now() - began) / 1000 / leaseSeconds
    const calls = (await counted()) - before
    expect(rewrapped).toBe(records)
    expect(Math.abs(hsmCalls - budget.rotation)).toBeLessThanOrEqual(spread)
    // Also, at most once a lease: the question of verify, repeated before promote if its answers are old, and a proof of the
    // process that wraps.
    expect(calls).toBeGreaterThanOrEqual(hsmCalls + callsPerProof)
    const most = (budget.verify + callsPerProof) * (Math.ceil(leases) + 1)
    expect(calls).toBeLessThanOrEqual(hsmCalls + most)
  },
)
