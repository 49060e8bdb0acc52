import { expect, onTestFinished, test } from 'vitest'
import { workflowIds } from '../../contracts/names.ts'
import { readSettings } from '../../store/kek-settings.ts'
import { writeHeartbeat } from '../../store/process-heartbeats.ts'
import { openFleet } from '../support/fleet.ts'

const processes = 1_000

test('a verify that waits for a thousand processes keeps its history small, and rotate names the first ten', async () => {
  const fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], versions: [1, 2] })
  onTestFinished(() => fleet.close())
  const settings = (await readSettings(fleet.store))?.sha256.buffer ?? null
  const loaded = [1, 2].map((version) => ({ version, proven_at: new Date(), answers: null }))
  for (let index = 0; index < processes; index++) {
    const node = `app-${index.toString().padStart(4, '0')}.example.internal`
    const own = { node, boot: `b${index}`, pid: 10_000 + index, role: 'app' as const }
    const timings = { leaseMs: 600_000, expireMs: 900_000 }
    await writeHeartbeat(fleet.store, {
      ...own,
      current: 1,
      epoch: 1,
      loaded,
      settings,
      ...timings,
    })
  }

  const verified = await fleet.cli('verify', '--target', '2')
  expect(verified.code).toBe(3)
  const stale = verified.json.nodes.filter(({ reason }) => reason === 'stale')
  expect(stale).toHaveLength(processes)
  const handle = fleet.temporal.workflow.getHandle(workflowIds.verify(fleet.identity, 2))
  const { historySize } = await handle.describe()
  expect(historySize).toBeLessThan(1_000_000)

  const rotation = await fleet.cli('rotate', '--to-version', '2')
  expect(rotation.json).toMatchObject({ outcome: 'refused', error: { code: 'not-ready' } })
  expect(rotation.json.error.message).toMatch(/app-0009\S* \(stale\) and 990 more$/)
})
