import { randomBytes } from 'node:crypto'
import { Agent, get } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { waitUntil } from '../../../devstack/wait-until.ts'
import { ask, connectTo, listener, send } from './support.ts'

test('1,000 parallel reads over 64 connections are answered from one rendering a second', async () => {
  let rendered = 0
  const { address } = await listener({ metrics: async () => `page ${++rendered}\n` })
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  onTestFinished(() => agent.destroy())
  const began = performance.now()
  const reads = Array.from({ length: 1_000 }, () => read(`http://${address}/metrics`, agent))
  const answers = await Promise.all(reads)
  const seconds = Math.ceil((performance.now() - began) / 1_000)
  expect(answers.every((page) => page.startsWith('page '))).toBe(true)
  expect(rendered).toBeLessThanOrEqual(seconds)
})

test('a peer holds at most 64 connections; the next is closed, and served once one has ended', async () => {
  const { address } = await listener()
  const held = Array.from({ length: 64 }, () => connectTo(address))
  onTestFinished(() => held.forEach((socket) => socket.destroy()))
  await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  await expect(ask(address, '/healthz')).rejects.toThrow(/hang up|ECONNRESET|EPIPE/)
  held[0]?.destroy()
  await waitUntil('a connection is free again', () => isAnswering(address), { withinMs: 20_000 })
})

test('after 1,000 connections at once, the listener answers', async () => {
  const { address } = await listener()
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1_000 }, () => ask(address, '/metrics')),
  )
  const answered = outcomes.filter(({ status }) => status === 'fulfilled')
  expect(answered.length).toBeGreaterThan(0)
  await waitUntil('the listener answers', () => isAnswering(address), { withinMs: 20_000 })
})

test('headers of more than 8 KiB are refused', async () => {
  const { address } = await listener()
  const long = `GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'a'.repeat(10_000)}\r\n\r\n`
  expect(await send(address, long)).toMatch(/^HTTP\/1.1 431 /)
  const line = `GET /${'a'.repeat(10_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  expect(await send(address, line)).toMatch(/^HTTP\/1.1 431 /)
})

test('random bytes end their connection', async () => {
  const { address } = await listener()
  for (let round = 0; round < 20; round += 1) {
    expect(await send(address, randomBytes(8_192))).toMatch(/^(HTTP\/1.1 400 [^]*)?$/)
  }
  expect((await ask(address, '/healthz')).status).toBe(200)
})

function isAnswering(address: string): Promise<boolean> {
  return ask(address, '/healthz').then(
    ({ status }) => status === 200,
    () => false,
  )
}

function read(url: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => resolve(text(response))).on('error', reject)
  })
}
