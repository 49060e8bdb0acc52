import { createRequire } from 'node:module'
import type { Client, WorkflowHandle } from '@temporalio/client'
import { defineSearchAttributeKey } from '@temporalio/common'
import { Worker } from '@temporalio/worker'
import type { NativeConnection } from '@temporalio/worker'
import type { AnswerRound } from '../../activities/fleet-answers.ts'
import type { FinishAnswer, FinishInput } from '../../activities/finish-rotation.ts'
import type { ControlActivities } from '../../activities/index.ts'
import { queues, searchAttributes, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RewrapRangeInput, HsmAway, SweepEnd } from '../../contracts/rewrap.ts'
import type { RotateInput, RotateResult } from '../../contracts/rotation.ts'
import type { rotateKek } from '../../workflows/index.ts'
import { freshName } from '../support/fresh.ts'
import { quietRuntime } from '../support/quiet-runtime.ts'

quietRuntime()

/** The client's and the worker's connection to Temporal. */
export interface Stage {
  client: Client
  native: NativeConnection
}

export type Steps = Partial<ControlActivities> & {
  rewrapBatch?: (input: RewrapRangeInput) => Promise<SweepEnd | HsmAway>
}

export const counters = { rewrapped: 10, superseded: 0, quarantined: 0, hsmCalls: 30 }

/** A fleet of one application, which has answered or has not. */
export const answered = (ready: boolean): AnswerRound => ({
  report: {
    target: 2,
    ready,
    nodes: [
      {
        node: 'app-1',
        role: 'app',
        pid: 1,
        ready,
        reason: ready ? null : 'not-loaded',
        provenAt: null,
      },
    ],
    crossChecked: false,
  },
  met: ['app-1/b'],
  unasked: [],
})

/** The result of finish for a rotation from 1 to 2. */
export async function finished({ rotation, error }: FinishInput): Promise<FinishAnswer> {
  const outcome = error === null ? 'completed' : error.code === 'cancelled' ? 'cancelled' : 'failed'
  const nothing = { silent: [], remaining: 0, durationSeconds: 0 }
  const result = { rotation, from: 1, to: 2, outcome, error, ...nothing, ...counters } as const
  return Promise.resolve({ state: 'ended', result })
}

/** Returns the ranges of each pass as the product does, some at a time. */
export function handingOut(count: number, atOnce = 10): ControlActivities['nextRanges'] {
  return async ({ pass, after }) => {
    const begin = after === null ? 0 : Number(after.split('-')[1]) + 1
    const length = Math.max(0, Math.min(atOnce, count - begin))
    return Array.from({ length }, (_, index) => {
      return { range: `${pass}-${begin + index}`, collection: 'c', field: 'f' }
    })
  }
}

/** The real workflows of a rotation with fake activities; `during` runs at the same time. */
export async function rotate(
  { client, native }: Stage,
  steps: Steps,
  during: (handle: WorkflowHandle) => Promise<void> = async () => undefined,
  changes: Partial<RotateInput> = {},
): Promise<{ result: RotateResult; calls: string[] }> {
  const calls: string[] = []
  const input: RotateInput = {
    install: { name: freshName('story'), id: '0f' },
    task: '0a',
    rotation: 'r-1',
    from: 1,
    to: 2,
    requestedBy: 'test',
    reason: '',
    maxRate: 0,
    maxHsmCalls: 0,
    page: 10,
    shards: 2,
    check: 'all',
    ...changes,
  }
  const { install } = input
  const all = {
    preflight: async () => ({
      epoch: 1,
      promote: true,
      total: 10,
      heartbeatMs: 100,
      leaseMs: 300,
      startedAt: new Date(0).toISOString(),
    }),
    recordPhase: async () => undefined,
    askFleet: async () => ({ workers: [], heartbeatMs: 100, leaseMs: 300 }),
    awaitAnswers: async () => answered(true),
    recordMet: async () => undefined,
    promote: async () => ({ promoted: true, isOld: false, reason: '' }),
    planRanges: async () => ({ ranges: 2 }),
    nextRanges: handingOut(2),
    readCounters: async () => counters,
    watchFleet: async () => ({ settled: true, awaiting: [], silent: [] }),
    readRemaining: async () => ({ remaining: 0 }),
    rewrapBatch: async () => 'end',
    finishRotation: finished,
    ...steps,
  }
  const activities = Object.fromEntries(
    Object.entries(all).map(([name, step]) => [
      name,
      async (argument: never) => {
        calls.push(name)
        return await (step as (argument: never) => Promise<unknown>)(argument)
      },
    ]),
  )
  const common = { connection: native, activities, maxHeartbeatThrottleInterval: '100ms' as const }
  const workflowBundle = { codePath: createRequire(import.meta.url).resolve('#workflow-bundle') }
  const control = await Worker.create({
    ...common,
    workflowBundle,
    taskQueue: queues.control(install),
  })
  const rewrap = await Worker.create({ ...common, taskQueue: queues.rewrap(install) })
  const result = await control.runUntil(
    rewrap.runUntil(async () => {
      const handle = await client.workflow.start<typeof rotateKek>(workflowTypes.rotate, {
        workflowId: workflowIds.rotate(install),
        taskQueue: queues.control(install),
        args: [input],
        typedSearchAttributes: [
          {
            key: defineSearchAttributeKey(searchAttributes.install, 'KEYWORD'),
            value: install.name,
          },
        ],
      })
      await during(handle)
      return await handle.result()
    }),
  )
  return { result, calls }
}
