import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { HeartbeatFact } from '../../protocol/facts.ts'
import { nothingObserved, observe, settleVerdict, silentAtEnd } from '../../protocol/settle.ts'
import { at, heartbeat, host } from './fleet-facts.ts'

const question = { epoch: 2, promotedMs: 0, leaseMs: 90_000 }

/** Observes the given documents at the given seconds of the observer's clock. */
function watch(looks: [seconds: number, heartbeats: HeartbeatFact[]][]) {
  const state = looks.reduce(
    (state, [seconds, heartbeats]) => observe(state, heartbeats, seconds * 1000),
    nothingObserved,
  )
  return settleVerdict(state, question)
}

describe('settle', () => {
  const past = heartbeat('vm-a/1', { epoch: 2, current: 2 })
  const behind = heartbeat('vm-b/1', { epoch: 1, pid: 9 })

  test('lasts one lease after promote even if every process has switched', () => {
    expect(watch([[89, [past]]])).toMatchObject({
      done: false,
      awaiting: ['one lease after promote: 1 s left'],
    })
    expect(watch([[90, [past]]])).toEqual({ done: true, awaiting: [], silent: [] })
  })

  test('waits without limit for a process whose heartbeats report the old epoch', () => {
    const looks = Array.from({ length: 40 }, (_, index): [number, HeartbeatFact[]] => [
      index * 30,
      [past, { ...behind, at: at(index * 30) }],
    ])
    const verdict = watch(looks)
    expect(verdict.done).toBe(false)
    expect(verdict.awaiting).toEqual([
      'vm-b (worker, pid 9) has not reported epoch 2; unchanged for 0 s of 90 s',
    ])
  })

  test('stops waiting for a process after a whole lease of silence, and names its node', () => {
    expect(watch([[5, [behind]], [94, [behind]]]).done).toBe(false) // prettier-ignore
    expect(watch([[5, [behind]], [95, [behind]]])).toEqual({ done: true, awaiting: [], silent: ['vm-b'] }) // prettier-ignore
  })

  test('names at the end silent nodes that have not returned, and expected hosts without a document', () => {
    const pod = host('pod-1', { kind: 'ephemeral' })
    const roster = [host('vm-a'), host('vm-c'), host('vm-d', { decommissioned: true }), pod]
    expect(silentAtEnd([], roster, [past], 2)).toEqual(['vm-c'])
    expect(silentAtEnd(['vm-a', 'pod-1'], roster, [past], 2)).toEqual(['pod-1', 'vm-c'])
    expect(silentAtEnd(['vm-b'], [], [past, behind], 2)).toEqual(['vm-b'])
  })

  test('restarts the count when a document disappears: it may have been written in between', () => {
    const gone: [number, HeartbeatFact[]][] = [[0, [behind]], [89, []]] // prettier-ignore
    expect(watch([...gone, [178, []]]).awaiting).toEqual([
      'vm-b (worker, pid 9) is gone; its lease may run on: 89 s of 90 s',
    ])
    expect(watch([...gone, [179, []]]).done).toBe(true)
  })

  test('is not shortened by a document that claims a short lease, but waits for a longer one', () => {
    const short = { ...behind, leaseMs: 1 }
    expect(watch([[0, [short]], [89, [short]]]).done).toBe(false) // prettier-ignore
    const long = { ...behind, leaseMs: 200_000 }
    expect(watch([[0, [long]], [199, [long]]]).done).toBe(false) // prettier-ignore
    expect(watch([[0, [long]], [200, [long]]]).done).toBe(true) // prettier-ignore
  })

  test('restarts the count when the observer’s own clock runs backwards', () => {
    expect(watch([[100, [behind]], [80, [behind]], [169, [behind]]]).done).toBe(false) // prettier-ignore
    expect(watch([[100, [behind]], [80, [behind]], [170, [behind]]]).done).toBe(true) // prettier-ignore
  })

  test('waits again for a process that was restored from a snapshot', () => {
    const moved = { ...behind, epoch: 2, at: at(30) }
    const restored = { ...behind, epoch: 1, at: at(60) }
    expect(watch([[0, [behind]], [60, [moved]], [120, [restored]]]).done).toBe(false) // prettier-ignore
  })

  test('keeps its state in JSON', () => {
    const state = observe(nothingObserved, [past, behind], 12)
    expect(JSON.parse(JSON.stringify(state))).toEqual(state)
  })

  test('is never over while some process can still wrap under the old version', () => {
    // Each process beats at some seconds and switches at one of them, if ever; it may wrap under the old version
    // until it switches, or for one lease after its last heartbeat. The observer reads every 5 s.
    const leaseMs = 20_000
    const process = fc.record({
      beats: fc.uniqueArray(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 20 }),
      movesAt: fc.integer({ min: 0, max: 150 }),
      goneAt: fc.integer({ min: 1, max: 200 }),
    })
    fc.assert(
      fc.property(fc.array(process, { minLength: 1, maxLength: 4 }), (processes) => {
        let state = nothingObserved
        for (let now = 0; now <= 200; now += 5) {
          const documents = processes.flatMap(({ beats, movesAt, goneAt }, index) => {
            const last = Math.max(...beats.filter((beat) => beat <= now), -1)
            if (last < 0 || now >= goneAt) return []
            const epoch = last >= movesAt ? 2 : 1
            return [heartbeat(`n${index}/1`, { at: at(last), epoch, leaseMs })]
          })
          state = observe(state, documents, now * 1000)
          const { done } = settleVerdict(state, { epoch: 2, promotedMs: 0, leaseMs })
          if (!done) continue
          for (const [index, { beats, movesAt, goneAt }] of processes.entries()) {
            const mine = beats.filter((beat) => beat <= now && beat < goneAt)
            const last = Math.max(...mine, -1)
            // A process that was never observed started after promote, so it was never under the old version.
            if (last < 0 || state.processes[`n${index}/1`] === undefined) continue
            expect(last >= movesAt || (now - last) * 1000 >= leaseMs).toBe(true)
          }
          return
        }
      }),
    )
  })
})
