import type { Worker } from '@temporalio/worker'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createLog } from '../../observability/log.ts'
import { Polling } from '../../workers/polling.ts'

const second = 1_000
const minute = 60 * second
const install = { name: 'payments', id: 'a1' }

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** An SDK worker that can only be stopped. */
function idleWorker(): Worker {
  let end: () => void = () => undefined
  const run = new Promise<void>((resolve) => (end = resolve))
  return { run: () => run, shutdown: () => end(), getState: () => 'RUNNING' } as unknown as Worker
}

async function polling(known: Set<string> = new Set()): Promise<Polling> {
  const subject = new Polling({
    roles: ['control', 'rewrap'],
    everyMs: second,
    firstPauseMs: 20 * second,
    log: createLog({ level: 'silent', pretty: false }),
    look: () => Promise.resolve({ install, problem: null }),
    hasTask: (task) => Promise.resolve(known.has(task)),
    open: () => Promise.resolve(idleWorker()),
  })
  await subject.begin()
  return subject
}

test('one forged task stops its queue only for the first pause', async () => {
  const subject = await polling()
  subject.meetForeign('control', null)
  expect(subject.problem()).toMatch(/^foreign-task: .* control$/)
  await vi.advanceTimersByTimeAsync(19 * second)
  expect(subject.problem()).not.toBeNull()
  await vi.advanceTimersByTimeAsync(2 * second)
  expect(subject.problem()).toBeNull()
  await subject.close()
})

test('endless forged tasks stop a queue for half of the time, at most five minutes in a row', async () => {
  const subject = await polling()
  let stopped = 0
  let longest = 0
  let stretch = 0
  const seconds = 4 * 3_600
  for (let at = 0; at < seconds; at += 1) {
    subject.meetForeign('control', null)
    stretch = subject.problem() === null ? 0 : stretch + 1
    stopped += subject.problem() === null ? 0 : 1
    longest = Math.max(longest, stretch)
    await vi.advanceTimersByTimeAsync(second)
  }
  expect(longest).toBeGreaterThan(200)
  expect(longest).toBeLessThanOrEqual((5 * minute) / second + 2)
  expect(stopped / seconds).toBeLessThan(0.55)
  await subject.close()
}, 60_000)

test('the pause ends when the missing row appears', async () => {
  const known = new Set<string>()
  const subject = await polling(known)
  subject.meetForeign('rewrap', 'asked later')
  await vi.advanceTimersByTimeAsync(5 * second)
  expect(subject.problem()).toMatch(/rewrap$/)
  known.add('asked later')
  await vi.advanceTimersByTimeAsync(2 * second)
  expect(subject.problem()).toBeNull()
  await subject.close()
})
