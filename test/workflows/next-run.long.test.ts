import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import type { WorkflowHandle } from '@temporalio/client'
import { defineSearchAttributeKey } from '@temporalio/common'
import { NativeConnection } from '@temporalio/worker'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { messages, searchAttributes } from '../../contracts/names.ts'
import type { RewrapRangeInput } from '../../contracts/rewrap.ts'
import type { RotationProgress } from '../../contracts/rotation.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import type { TemporalServer } from '../../devstack/temporal-server.ts'
import { handingOut, rotate } from './story.ts'

const phase = defineSearchAttributeKey(searchAttributes.phase, 'KEYWORD')

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>

/**
 * Events after which this server suggests a new run; 4,096 by default. Work in flight adds a few hundred events, whatever
 * the limit is.
 */
const suggestAt = 120
const inFlight = 300

describe('a rotation whose history grows long', () => {
  let folder: string
  let server: TemporalServer
  let connection: Connection
  let native: NativeConnection
  let client: Client

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'runs-'))
    const { path } = await findServer('temporal', { print: console.error })
    const settings = [`limit.historyCount.suggestContinueAsNew=${suggestAt}`]
    server = await startTemporalServer({ path, folder, ui: false, settings })
    connection = await Connection.connect({ address: server.address })
    native = await NativeConnection.connect({ address: server.address })
    client = new Client({ connection })
  })
  afterAll(async () => {
    await connection.close()
    await native.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })

  /** Each run of an ended rotation: its events, and whether no range ran when the next run began. */
  async function runsOf({ workflowId }: WorkflowHandle, firstRun: string): Promise<number[]> {
    const events: number[] = []
    for (let run: string | null | undefined = firstRun; run;) {
      const history: History = await client.workflow.getHandle(workflowId, run).fetchHistory()
      const all = history.events ?? []
      const count = (name: keyof (typeof all)[number]) => all.filter((event) => event[name]).length
      const ended =
        count('childWorkflowExecutionCompletedEventAttributes') +
        count('childWorkflowExecutionTerminatedEventAttributes')
      expect(ended).toBe(count('childWorkflowExecutionStartedEventAttributes'))
      events.push(all.length)
      run = all.at(-1)?.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId
    }
    return events
  }

  /** The result of the rotation, and the lengths of its runs. */
  async function told(
    steps: Parameters<typeof rotate>[1],
    during: (handle: WorkflowHandle) => Promise<void> = async () => undefined,
    changes: Parameters<typeof rotate>[3] = {},
  ) {
    let lengths: number[] = []
    const { result, calls } = await rotate(
      { client, native },
      steps,
      async (handle) => {
        const { runId } = await handle.describe()
        await during(handle)
        await handle.result()
        lengths = await runsOf(handle, runId)
      },
      changes,
    )
    for (const length of lengths) expect(length).toBeLessThan(suggestAt + inFlight)
    const times = (name: string) => calls.filter((call) => call === name).length
    return { result, times, runs: lengths.length }
  }

  test('continues in new runs with the rest of its plan, and completes each range once', async () => {
    // KEYTURN_RANGES=5000 is the largest plan, `shards: 1000` over five fields.
    const ranges = Number(process.env['KEYTURN_RANGES'] ?? 30)
    const ended = new Map<string, number>()
    const { result, times, runs } = await told({
      nextRanges: handingOut(ranges),
      rewrapBatch: async ({ range }) => {
        ended.set(range, (ended.get(range) ?? 0) + 1)
        return 'end'
      },
    })
    expect(result).toMatchObject({ outcome: 'completed', rewrapped: 10 })
    expect(runs).toBeGreaterThan(1)
    expect(ended.size).toBe(ranges)
    expect(new Set(ended.values())).toEqual(new Set([1]))
    for (const once of ['preflight', 'promote', 'planRanges', 'finishRotation']) {
      expect({ once, times: times(once) }).toEqual({ once, times: 1 })
    }
  })

  test('continues in new runs while a late writer feeds its tail, and checks the fleet once', async () => {
    let left = 8
    const { result, times, runs } = await told({
      nextRanges: handingOut(1),
      readRemaining: async () => ({ remaining: Math.max(0, left--) }),
      watchFleet: async () => ({ settled: true, awaiting: [], silent: [] }),
    })
    expect(result.outcome).toBe('completed')
    expect(runs).toBeGreaterThan(1)
    // One for the sweep, then one for each pass of the tail.
    expect(times('planRanges')).toBe(9)
    expect(times('watchFleet')).toBe(1)
  })

  test('continues a long range in a new run after its page in flight', async () => {
    let isHeld = true
    const batches: RewrapRangeInput[] = []
    const { result, runs } = await told(
      {
        nextRanges: handingOut(1),
        rewrapBatch: async (input) => {
          batches.push(input)
          return isHeld ? 'deadline' : 'end'
        },
      },
      async (handle) => {
        // Each batch adds its events, and the range never ends.
        for (let rate = 1; batches.length < 12; rate++) {
          await handle.executeUpdate(messages.setRate, { args: [rate] })
        }
        isHeld = false
      },
    )
    expect(result.outcome).toBe('completed')
    expect(runs).toBeGreaterThan(0)
    expect(new Set(batches.map(({ range }) => range))).toEqual(new Set(['0-0']))
  })

  test('answers every message across runs, and keeps what was steered', async () => {
    let isHeld = true
    const rates = new Set<number>()
    const { result, runs } = await told(
      {
        nextRanges: handingOut(2),
        rewrapBatch: async ({ steering }) => {
          rates.add(steering.rate)
          return isHeld ? 'deadline' : 'end'
        },
      },
      async (handle) => {
        const first = (await handle.describe()).runId
        const ask = async () => await handle.query<RotationProgress>(messages.progress)
        for (let turn = 0; (await handle.describe()).runId === first; turn++) {
          await (turn % 2 === 0
            ? handle.executeUpdate(messages.pause)
            : handle.executeUpdate(messages.resume))
          const { paused } = await ask()
          expect(paused).toBe(turn % 2 === 0)
        }
        await handle.executeUpdate(messages.pause)
        await handle.executeUpdate(messages.setRate, { args: [700] })
        const paused = await handle.describe()
        for (let turn = 0; (await handle.describe()).runId === paused.runId; turn++) {
          await handle.executeUpdate(messages.setRate, { args: [700 + (turn % 2)] })
        }
        const progress = await ask()
        expect(progress).toMatchObject({ paused: true, phase: 'rewrap', total: 10 })
        expect(progress.maxRate).toBeGreaterThanOrEqual(700)
        const { memo, typedSearchAttributes } = await handle.describe()
        expect(memo).toMatchObject({ paused: true })
        expect(typedSearchAttributes.get(phase)).toBe('rewrap')
        isHeld = false
        await handle.executeUpdate(messages.setRate, { args: [800] })
        await handle.executeUpdate(messages.resume)
      },
    )
    expect(result.outcome).toBe('completed')
    expect(runs).toBeGreaterThan(2)
    expect(rates).toContain(400)
  })

  test('can be cancelled in a later run', async () => {
    const { result, runs } = await told(
      { nextRanges: handingOut(1), rewrapBatch: async () => 'deadline' },
      async (handle) => {
        const first = (await handle.describe()).runId
        while ((await handle.describe()).runId === first) {
          await handle.executeUpdate(messages.setRate, { args: [5] })
        }
        await handle.cancel()
      },
    )
    expect(result.outcome).toBe('cancelled')
    expect(runs).toBeGreaterThan(1)
  })
})
