import { expect, test } from 'vitest'
import type { ControlDeps } from '../../activities/deps.ts'
import { readFleet } from '../../activities/fleet.ts'
import { fleetReadiness, type WorkerAnswer } from '../../protocol/readiness.ts'
import { keystore } from '../../store/keystore.ts'
import { writeHeartbeat } from '../../store/process-heartbeats.ts'
import { openTestFleet } from '../keyring/test-fleet.ts'

const processes = 1_000
const kilobyte = 1_000

test('a fleet of a thousand processes fits into the results of verify and its steps', async () => {
  const { store, config } = await openTestFleet({ versions: [1] })
  const nonce = '01a21744-9b3c-7d9e-8f00-0123456789ab'
  const loaded = [1, 2].map((version) => ({ version, proven_at: new Date(), answers: nonce }))
  const nodes = Array.from(
    { length: processes },
    (_, index) => `vm-${index.toString().padStart(4, '0')}.example.internal`,
  )
  const settings = Buffer.alloc(32, 1)
  const timings = { leaseMs: 90_000, expireMs: 120_000 }
  for (const [index, node] of nodes.entries()) {
    const own = { node, boot: `01a21744${index}`, pid: 10_000 + index, role: 'app' as const }
    await writeHeartbeat(store, { ...own, current: 1, epoch: 1, loaded, settings, ...timings })
  }
  const now = new Date()
  const seen = { first_seen: now, last_seen: now, decommissioned_at: null, decommissioned_by: null }
  await keystore
    .nodes(store)
    .insertMany(nodes.map((node) => ({ _id: node, kind: 'host' as const, ...seen })))
  const snapshot = await readFleet({ store, config } as ControlDeps)
  expect(snapshot.heartbeats).toHaveLength(processes)
  const answers: WorkerAnswer[] = []
  const report = fleetReadiness({ ...snapshot, target: 2, nonces: [nonce], answers })
  expect(report.every(({ ready }) => ready)).toBe(true)
  // Half of what Temporal refuses: two megabytes (limit.blobSize.error).
  expect(sizeOf(snapshot)).toBeLessThan(1_000 * kilobyte)
  expect(sizeOf(report)).toBeLessThan(200 * kilobyte)
})

function sizeOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value))
}
