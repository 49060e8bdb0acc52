import { describe, expect, test, vi } from 'vitest'
import { HeartbeatLoop } from '../../keyring/heartbeat-loop.ts'
import { ServerClock } from '../../keyring/server-clock.ts'
import { WrapCounts } from '../../keyring/wrap-counts.ts'

describe('the heartbeat loop', () => {
  const clock = new ServerClock()

  function loopOf(intervalMs = 1_000_000) {
    const begun: { end: () => void; fail: (error: Error) => void }[] = []
    const beat = () =>
      new Promise<void>((resolve, reject) => begun.push({ end: resolve, fail: reject }))
    const failures: unknown[] = []
    const loop = new HeartbeatLoop({
      beat,
      intervalMs: () => intervalMs,
      clock,
      onFailure: (error) => failures.push(error),
    })
    return { loop, begun, failures }
  }

  test("beats on every other second of the database's clock, however late the answers are", async () => {
    vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
    try {
      const clock = new ServerClock()
      const serverMs = () => performance.now() + 1_234_567_890_123
      const begun: number[] = []
      const beat = () => {
        const lateness = [0, 7, 2, 5][begun.length % 4] ?? 0
        clock.set(new Date(serverMs() - lateness))
        begun.push(serverMs())
        return Promise.resolve()
      }
      const onFailure = (error: unknown) => expect(error).toBeUndefined()
      const loop = new HeartbeatLoop({ beat, intervalMs: () => 30_000, clock, onFailure })
      await loop.run()
      await vi.advanceTimersByTimeAsync(10 * 30_000)
      await loop.stop()
      expect(begun).toHaveLength(11)
      const [, ...own] = begun
      for (const ms of own) expect(ms % 2_000).toBeLessThanOrEqual(8)
      for (const [at, ms] of own.slice(1).entries()) {
        expect(Math.abs(ms - (own[at] ?? 0) - 30_000)).toBeLessThanOrEqual(8)
      }
    } finally {
      vi.useRealTimers()
    }
  })

  test('runs one beat at a time; all waiting callers share the next one', async () => {
    const { loop, begun } = loopOf()
    const first = loop.run()
    const second = loop.run()
    const third = loop.run()
    expect(begun).toHaveLength(1)
    expect(second).toBe(third)
    begun[0]!.end()
    await first
    await vi.waitFor(() => expect(begun).toHaveLength(2))
    begun[1]!.end()
    await third
    expect(begun).toHaveLength(2)
    await loop.stop()
  })

  test('runs a new beat for waiting callers after one that failed', async () => {
    const { loop, begun } = loopOf()
    const first = loop.run()
    const second = loop.run()
    begun[0]!.fail(new Error('away'))
    await expect(first).rejects.toThrow('away')
    await vi.waitFor(() => expect(begun).toHaveLength(2))
    begun[1]!.end()
    await second
    await loop.stop()
  })

  test('continues by itself, also after failures, until it is stopped', async () => {
    const { loop, begun, failures } = loopOf(1)
    const first = loop.run()
    begun[0]!.end()
    await first
    await vi.waitFor(() => expect(begun).toHaveLength(2))
    begun[1]!.fail(new Error('away'))
    await vi.waitFor(() => expect(begun).toHaveLength(3))
    expect(failures).toHaveLength(1)
    begun[2]!.end()
    await loop.stop()
    expect(loop.isStopped).toBe(true)
  })
})

describe('wrap counts', () => {
  test('are counted again when they could not be written', async () => {
    const counts = new WrapCounts()
    counts.add(1, 2)
    counts.add(1, 3)
    await expect(counts.write(() => Promise.reject(new Error('away')))).rejects.toThrow('away')
    counts.add(2, 1)
    const written: [number, number][][] = []
    await counts.write((map) => Promise.resolve(void written.push([...map])))
    await counts.write((map) => Promise.resolve(void written.push([...map])))
    expect(written).toEqual([[[1, 5], [2, 1]]]) // prettier-ignore
  })
})
