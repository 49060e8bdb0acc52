import { expect, test, vi } from 'vitest'
import { createMetrics } from '../../observability/metrics.ts'

const create = (processMetrics = false) =>
  createMetrics({ install: 'payments', node: 'vm-a', processMetrics })

async function values(metrics: ReturnType<typeof create>): Promise<Record<string, number>> {
  const text = await metrics.render()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      const name = line
        .slice(0, at)
        .replace(/,?install="payments",node="vm-a"/, '')
        .replace('{}', '')
      return [name, Number(line.slice(at + 1))]
    }),
  )
}

test('every line has install and node', async () => {
  const text = await create().render()
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  expect(lines.length).toBeGreaterThan(5)
  for (const line of lines) expect(line).toContain('install="payments",node="vm-a"')
})

test('counts the results of a sweep and the wraps', async () => {
  const metrics = create()
  metrics.countSweep({ rewrapped: 998, superseded: 1, quarantined: 1 })
  metrics.countSweep({ rewrapped: 2, superseded: 0, quarantined: 0 })
  metrics.countWraps(2, 1000)
  metrics.countWraps(2, 1)
  metrics.countWraps(3, 5)
  expect(await values(metrics)).toMatchObject({
    keyturn_rewrapped_total: 1000,
    keyturn_superseded_total: 1,
    keyturn_quarantined_total: 1,
    'keyturn_wraps_total{version="2"}': 1001,
    'keyturn_wraps_total{version="3"}': 5,
  })
})

test('accepts running totals of the provider, repeated or restarted', async () => {
  const metrics = create()
  const stats = {
    sessions: 4,
    waiting: 2,
    calls: 10,
    reconnects: 1,
    byCode: { CKR_DEVICE_ERROR: 2 },
  }
  metrics.setProvider(stats)
  metrics.setProvider(stats)
  metrics.setProvider({ ...stats, calls: 15, sessions: 3 })
  expect(await values(metrics)).toMatchObject({
    keyturn_hsm_calls_total: 15,
    keyturn_hsm_reconnects_total: 1,
    'keyturn_hsm_errors_total{code="CKR_DEVICE_ERROR"}': 2,
    keyturn_hsm_sessions: 3,
    keyturn_hsm_waiting: 2,
  })
  metrics.setProvider({ ...stats, calls: 1 })
  expect((await values(metrics))['keyturn_hsm_calls_total']).toBe(16)
})

test('shows the state of the process, and drops versions that were unloaded', async () => {
  const metrics = create()
  const active = { version: 2, epoch: 7 }
  metrics.setMember({ active, loaded: [1, 2], leaseOk: true, degraded: false })
  expect(await values(metrics)).toMatchObject({
    keyturn_active_version: 2,
    keyturn_active_epoch: 7,
    keyturn_lease_ok: 1,
    keyturn_degraded: 0,
    'keyturn_loaded_version{version="1"}': 1,
  })
  metrics.setMember({ active: null, loaded: [2], leaseOk: false, degraded: true })
  const after = await values(metrics)
  expect(after).toMatchObject({
    keyturn_active_version: 0,
    keyturn_lease_ok: 0,
    keyturn_degraded: 1,
  })
  expect(after).not.toHaveProperty('keyturn_loaded_version{version="1"}')
})

test("shows the heartbeat's age, and nothing before the first", async () => {
  const metrics = create()
  expect(await values(metrics)).not.toHaveProperty('keyturn_heartbeat_age_seconds')
  const clock = vi.spyOn(performance, 'now')
  try {
    clock.mockReturnValue(1000)
    metrics.beat()
    clock.mockReturnValue(4500)
    expect((await values(metrics))['keyturn_heartbeat_age_seconds']).toBe(3.5)
  } finally {
    clock.mockRestore()
  }
})

test("adds Node's own figures on request, and two registries do not share figures", async () => {
  const metrics = create(true)
  expect(Object.keys(await values(metrics))).toContain('nodejs_eventloop_lag_seconds')
  expect(Object.keys(await values(create()))).not.toContain('nodejs_eventloop_lag_seconds')
})
