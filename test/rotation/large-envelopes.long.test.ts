import { readFile } from 'node:fs/promises'
import { Binary, Int32 } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openFleet, type Fleet } from '../support/fleet.ts'

let fleet: Fleet

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'] })
})
afterAll(async () => {
  await fleet.close()
})

/** The worker's peak memory, in MB. */
async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024
}

test('a worker that sweeps 60 wraps of 14 MB holds only a few of them at a time', async () => {
  await fleet.fill(20)
  const records = fleet.store.db.collection('certificates')
  const wrapped = new Binary(Buffer.alloc(14 * 1024 * 1024, 7))
  for (let n = 0; n < 60; n++) {
    await records.insertOne({
      private_key: {
        format: new Int32(1),
        kek_version: new Int32(1),
        provider: 'env',
        dek_iv: new Binary(Buffer.alloc(12)),
        dek_wrapped: wrapped,
        iv: new Binary(Buffer.alloc(12)),
        ciphertext: new Binary(Buffer.alloc(16)),
      },
    })
  }
  const ended = await fleet.cli('rotate', '--to-version', '2')
  const peak = await peakOf(fleet.nodes.pid('vm-a'))
  expect(ended.json).toMatchObject({
    outcome: 'completed-with-quarantine',
    rewrapped: 20,
    quarantined: 60,
  })
  expect(peak).toBeLessThan(600)
})
