import { Client, Connection, type WorkflowHandle } from '@temporalio/client'
import { Context } from '@temporalio/activity'
import { ApplicationFailure } from '@temporalio/common'
import { NativeConnection } from '@temporalio/worker'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { messages } from '../../contracts/names.ts'
import type { PauseCause, Resumed, RotationProgress } from '../../contracts/rotation.ts'
import { nextPollMs } from '../../workflows/rewrap-ranges.ts'
import { freshName } from '../support/fresh.ts'
import { answered, finished, handingOut, rotate as tell } from './story.ts'
import type { Steps } from './story.ts'

/**
 * The rotation's workflow with fake activities: the order of steps, the checks in the workflow, the steering. test/rotation
 * tests the activities on real servers.
 */
let connection: Connection
let native: NativeConnection
let client: Client

beforeAll(async () => {
  const address = inject('temporalAddress')
  connection = await Connection.connect({ address })
  native = await NativeConnection.connect({ address })
  client = new Client({ connection })
})

afterAll(async () => {
  await connection.close()
  await native.close()
})

const rotate = async (
  steps: Steps,
  ...rest: Parameters<typeof tell> extends [unknown, unknown, ...infer R] ? R : never
) => await tell({ client, native }, steps, ...rest)

/** A promise and the function that resolves it. */
function signal(): [Promise<void>, () => void] {
  let fulfil: () => void = () => undefined
  const promise = new Promise<void>((resolve) => (fulfil = resolve))
  return [promise, fulfil]
}

const refusal = (code: string) => {
  throw ApplicationFailure.create({
    type: code,
    message: `refused by ${code}`,
    nonRetryable: true,
    details: [{ hint: 'a hint' }],
  })
}

describe('a rotation', () => {
  test('goes through its phases in order and counts in finish', async () => {
    const { result, calls } = await rotate({})
    expect(result.outcome).toBe('completed')
    const story = calls.filter(
      (name) => !['readCounters', 'recordPhase', 'awaitAnswers', 'nextRanges'].includes(name),
    )
    expect(story.join(' ')).toBe(
      'preflight askFleet recordMet promote watchFleet planRanges rewrapBatch rewrapBatch readRemaining finishRotation',
    )
  })

  test.each([
    ['was not enough', async () => ({ settled: false, awaiting: ['app-1'], silent: [] })],
    ['failed', async () => refusal('mongodb-unreachable')],
  ])('checks the fleet during the sweep, and once more when that %s', async (_, firstLook) => {
    const [isLooking, looks] = signal()
    let rounds = 0
    const { result, calls } = await rotate({
      watchFleet: async () => {
        looks()
        rounds += 1
        return rounds === 1 ? firstLook() : { settled: true, awaiting: [], silent: ['app-1'] }
      },
      rewrapBatch: async () => {
        await isLooking
        return 'end'
      },
    })
    expect(result.outcome).toBe('completed')
    expect(calls.filter((name) => name === 'watchFleet')).toHaveLength(2)
    expect(calls.indexOf('watchFleet')).toBeLessThan(calls.indexOf('rewrapBatch'))
    expect(calls.lastIndexOf('watchFleet')).toBeGreaterThan(calls.lastIndexOf('rewrapBatch'))
  })

  test('stops watching the fleet when the sweep fails', async () => {
    const [isLooking, looks] = signal()
    const [hasLetGo, letGo] = signal()
    const steps: Steps = {
      watchFleet: async () => {
        const context = Context.current()
        const alive = setInterval(() => context.heartbeat(), 50)
        looks()
        return await context.cancelled.finally(() => {
          clearInterval(alive)
          letGo()
        })
      },
      planRanges: async () => {
        await isLooking
        return refusal('index-missing')
      },
    }
    const { result } = await rotate(steps, () => hasLetGo)
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'index-missing' } })
  })

  test('has a refusal of preflight as its outcome, with code and hint, and still runs finish', async () => {
    const { result, calls } = await rotate({ preflight: async () => refusal('index-missing') })
    expect(result.error).toEqual({
      code: 'index-missing',
      message: 'refused by index-missing',
      hint: 'a hint',
    })
    expect(calls).not.toContain('promote')
    expect(calls.at(-1)).toBe('finishRotation')
  })

  test('does not promote when a process is not ready', async () => {
    const { result, calls } = await rotate({ awaitAnswers: async () => answered(false) })
    expect(result.error?.code).toBe('not-ready')
    expect(calls).not.toContain('promote')
  })

  test('verifies again when a process appeared before promote, three times at most', async () => {
    const { result, calls } = await rotate({
      promote: async () => ({ promoted: false, isOld: false, reason: 'app-2 is new' }),
    })
    expect(result.error).toMatchObject({ code: 'not-ready', message: 'app-2 is new' })
    expect(calls.filter((name) => name === 'promote')).toHaveLength(4)
  })

  test('verifies again after a pause whenever the question has become too old', async () => {
    const old = [true, true, true, true, true]
    const promote = async () => {
      const isOld = old.pop() ?? false
      return { promoted: !isOld, isOld, reason: 'long ago' }
    }
    const { result, calls } = await rotate({ promote })
    expect(result.outcome).toBe('completed')
    expect(calls.filter((name) => name === 'askFleet')).toHaveLength(6)
    expect(calls.filter((name) => name === 'recordMet')).toHaveLength(6)
  })

  test('sweeps the tail until finish finds nothing left, and checks the fleet when finish requires it', async () => {
    const census = [3, 0, 0, 0]
    const answers = [{ state: 'tail', remaining: 1 } as const, { state: 'fleet' } as const]
    const { calls } = await rotate({
      readRemaining: async () => ({ remaining: census.shift() ?? 0 }),
      finishRotation: async (input) => answers.shift() ?? finished(input),
    })
    const times = (step: string) => calls.filter((name) => name === step).length
    expect(times('readRemaining')).toBe(4)
    expect(times('planRanges')).toBe(3)
    expect(times('finishRotation')).toBe(3)
    expect(times('watchFleet')).toBe(2)
  })

  test('fails with the reason when envelopes of its tail come and go between two counts', async () => {
    const { result } = await rotate({
      readRemaining: async () => ({ remaining: 0 }),
      async finishRotation(input) {
        return input.error === null ? { state: 'tail', remaining: 1 } : await finished(input)
      },
    })
    const message = expect.stringMatching(/^1 envelopes under v1 remain, .* met none/) as string
    expect(result).toMatchObject({
      outcome: 'failed',
      error: { code: 'rotation-failed', message },
    })
  })

  test('pauses within a batch and continues without losing the range', async () => {
    let batches = 0
    const { result } = await rotate(
      { rewrapBatch: async () => ((batches += 1) > 3 ? 'end' : 'deadline') },
      async (handle) => {
        await handle.executeUpdate(messages.pause)
        const progress = await handle.query<RotationProgress>(messages.progress)
        expect(progress.paused).toBe(true)
        await handle.executeUpdate(messages.resume)
      },
    )
    expect(result.outcome).toBe('completed')
  })

  test('ends as cancelled after a cancel, and still runs finish', async () => {
    const { result, calls } = await rotate({}, async (handle) => {
      await handle.executeUpdate(messages.pause)
      await handle.executeUpdate(messages.cancel)
    })
    expect(result.outcome).toBe('cancelled')
    expect(calls.at(-1)).toBe('finishRotation')
  })

  test('treats a cancellation in the Temporal UI like keyturn cancel', async () => {
    const { result } = await rotate({}, async (handle) => {
      await handle.executeUpdate(messages.pause)
      await handle.cancel()
    })
    expect(result.outcome).toBe('cancelled')
  })

  test('is paused by a spent budget of HSM calls and shows that reason', async () => {
    let spent = true
    const { result } = await rotate(
      {
        // One range: a second one that found the budget spent would correctly pause the rotation again.
        nextRanges: handingOut(1),
        rewrapBatch: async () => (spent ? 'hsm-budget' : 'end'),
      },
      async (handle) => {
        await expect
          .poll(async () => (await handle.query<RotationProgress>(messages.progress)).pausedBy, {
            timeout: 30_000,
          })
          .toBe('hsm-budget')
        spent = false
        await handle.executeUpdate(messages.resume)
      },
      { maxHsmCalls: 10 },
    )
    expect(result.outcome).toBe('completed')
  })

  describe('that has a window', () => {
    const seen = { epoch: 1, promote: true, isPast: false, hasWindow: true }
    const facts = { total: 10, heartbeatMs: 100, leaseMs: 300, startedAt: '' }
    const preflight = async () => ({ ...seen, ...facts })
    const closed = { isOpen: false, until: '2026-11-26T22:00:00.000Z', waitMs: 60_000 }
    const paused = async (handle: WorkflowHandle, pauses: PauseCause[]) => {
      const now = async () => (await handle.query<RotationProgress>(messages.progress)).pauses
      await expect.poll(now, { timeout: 30_000 }).toEqual(pauses)
    }
    const resume = async (handle: WorkflowHandle, now: boolean) =>
      await handle.executeUpdate<Resumed, []>(now ? messages.resumeNow : messages.resume)

    test('waits for it before the sweep, goes on when no pause is left, and is resumed by --now', async () => {
      const { result, calls } = await rotate(
        { preflight, lookAtWindow: async () => closed },
        async (handle) => {
          await paused(handle, ['window'])
          expect(await resume(handle, false)).toEqual({
            taken: [],
            left: ['window'],
            opensAt: closed.until,
          })
          await handle.executeUpdate(messages.pause)
          await paused(handle, ['operator', 'window'])
          expect(await resume(handle, false)).toMatchObject({ taken: ['operator'] })
          await handle.executeUpdate(messages.pause)
          expect(await resume(handle, true)).toMatchObject({
            taken: ['window', 'operator'],
            left: [],
          })
        },
      )
      expect(result.outcome).toBe('completed')
      expect(calls.indexOf('promote')).toBeLessThan(calls.indexOf('lookAtWindow'))
      expect(calls.indexOf('lookAtWindow')).toBeLessThan(calls.indexOf('rewrapBatch'))
    })

    test('pauses running ranges when it closes, and goes on when it opens', async () => {
      let looks = 0
      const { result } = await rotate(
        {
          preflight,
          lookAtWindow: async () => {
            looks += 1
            return { ...closed, isOpen: looks < 2 || looks >= 5, waitMs: 300 }
          },
          rewrapBatch: async () => (looks >= 5 ? 'end' : 'deadline'),
        },
        async (handle) => {
          await paused(handle, ['window'])
          await paused(handle, [])
        },
      )
      expect(result.outcome).toBe('completed')
      expect(looks).toBeGreaterThanOrEqual(5)
    })
  })

  test('divides the rate among the running ranges', async () => {
    const rates: number[] = []
    await rotate(
      {
        rewrapBatch: async ({ steering }) => {
          rates.push(steering.rate)
          return 'end'
        },
      },
      undefined,
      { maxRate: 1000 },
    )
    expect(Math.min(...rates)).toBe(500)
  })

  test('has a history that grows with ranges and batches, not with envelopes', async () => {
    // KEYTURN_BATCHES=700 includes a continue-as-new, with the 64 ranges of ten million envelopes.
    const batches = Number(process.env['KEYTURN_BATCHES'] ?? 12)
    const count = batches > 300 ? 64 : 16
    const left = new Map<string, number>()
    const runs = new Map<string, number>()
    const install = { name: freshName('story'), id: '0f' }
    const { result } = await rotate(
      {
        nextRanges: handingOut(count),
        rewrapBatch: async ({ range }) => {
          const rest = left.get(range) ?? (range === '0-0' ? batches : 1)
          left.set(range, rest - 1)
          return rest > 1 ? 'deadline' : 'end'
        },
      },
      async (handle) => {
        await handle.result()
        runs.set('rotation', (await handle.describe()).historyLength)
        const query = `KeyturnInstall = '${install.name}' AND WorkflowType = 'rewrapRange'`
        await expect
          .poll(
            async () => {
              for await (const { runId, historyLength = 0, workflowId } of client.workflow.list({
                query,
              })) {
                if (workflowId.endsWith('/0-0')) runs.set(runId, historyLength)
              }
              return runs.size
            },
            { timeout: 60_000 },
          )
          .toBe(1 + Math.ceil(batches / 300))
      },
      { install, maxRate: 1000 },
    )
    expect(result.outcome).toBe('completed')
    for (const events of runs.values()) expect(events).toBeLessThan(5_000)
    const { rotation, ...rest } = Object.fromEntries(runs)
    // This is the number of counter reads in a year.
    let looks = 0
    for (let pause = 2_000, at = 0; at < 365 * 86_400_000; pause = nextPollMs(pause)) {
      at += pause
      looks += 1
    }
    expect(11 * looks).toBeLessThan(4_000)
    // 686 with the 64 ranges; a busy machine needs a few more tasks and reads.
    expect(rotation!).toBeLessThan(1_000)
    // A run has 300 batches, and continues as new earlier if the server suggests it.
    const inOneRun = Math.min(batches, 300)
    const perBatch = (Math.max(...Object.values(rest)) - 5) / inOneRun
    expect(300 * perBatch).toBeLessThan(4_000)
    if (batches > 300) console.log({ runs, looks, perBatch })
  })

  test('refuses an update whose rate is not a number', async () => {
    await rotate({}, async (handle) => {
      await handle.executeUpdate(messages.pause)
      await expect(handle.executeUpdate(messages.setRate, { args: [-1] })).rejects.toThrow()
      await handle.executeUpdate(messages.resume)
    })
  })
})
