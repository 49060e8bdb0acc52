import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openFleet, type Fleet } from '../../support/fleet.ts'
import { slowRotation } from '../../support/paused-rotation.ts'
import { flood } from './flood.ts'
import { ask, outsideAddress } from './support.ts'

let fleet: Fleet

beforeAll(async () => {
  const worker = { listen: '0.0.0.0:0' }
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], config: { worker } })
  await fleet.fill(300)
}, 120_000)
afterAll(() => fleet.close())

test('a rotation goes on while the listener of its only worker is flooded', async () => {
  const { to, total, rotation } = await slowRotation(fleet)
  const [, port = ''] = /"listen":"0\.0\.0\.0:([1-9]\d*)"/.exec(await fleet.nodes.log('vm-a')) ?? []
  const attack = flood(`${outsideAddress() ?? '127.0.0.1'}:${port}`, '/metrics')
  onTestFinished(() => attack.stop())
  await fleet.until('the flood reaches the listener', async () => {
    const { randomBytes, oversized, slow, answered } = attack.counts
    return Math.min(randomBytes, oversized, slow, answered) > 0
  })
  await fleet.must('rate', '0')
  const { code, json } = await rotation.end()
  expect(code).toBe(0)
  expect(json).toMatchObject({ rewrapped: total, quarantined: 0, remaining: 0 })
  await attack.stop()
  expect(await fleet.verifyRecords()).toEqual({ [to]: total })
  await fleet.until('the listener answers', async () => {
    const answer = await ask(`127.0.0.1:${port}`, '/healthz').catch(() => null)
    return answer?.status === 200
  })
  for (const page of ['/metrics', '/', '/api/status']) {
    expect((await ask(`127.0.0.1:${port}`, page)).status).toBe(404)
  }
  expect(attack.counts.answered).toBeGreaterThan(0)
}, 180_000)
