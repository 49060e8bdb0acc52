import { get } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { silentLog } from '../../observability/log.ts'
import { openHealthPages } from '../../workers/health.ts'

test('1,000 parallel reads of /metrics are answered from one rendering', async () => {
  let rendered = 0
  const sources = {
    notReady: async () => null,
    metrics: async () => `page ${++rendered}\n`,
  }
  const pages = await openHealthPages('127.0.0.1:0', sources, silentLog)
  onTestFinished(() => pages.close())
  const began = performance.now()
  const reads = Array.from({ length: 1_000 }, () => readOnce(`http://${pages.address}/metrics`))
  const answers = await Promise.all(reads)
  const seconds = Math.ceil((performance.now() - began) / 1_000)
  expect(answers.every((page) => page.startsWith('page '))).toBe(true)
  expect(rendered).toBeLessThanOrEqual(seconds)
})

test('a failed rendering is not served again', async () => {
  let failed = false
  const sources = {
    notReady: async () => null,
    metrics: async () => {
      if (failed) return 'well\n'
      failed = true
      throw new Error('not now')
    },
  }
  const pages = await openHealthPages('127.0.0.1:0', sources, silentLog)
  onTestFinished(() => pages.close())
  const look = () => fetch(`http://${pages.address}/metrics`)
  expect((await look()).status).toBe(500)
  expect((await look()).status).toBe(200)
})

/** Reads over a connection of its own: the server may close an idle one at the moment of its reuse. */
function readOnce(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, (response) => resolve(text(response))).on('error', reject)
  })
}
