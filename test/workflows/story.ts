import { createRequire } from 'node:module'
import type { Client, WorkflowHandle } from '@temporalio/client'
import { defineSearchAttributeKey } from '@temporalio/common'
import { Worker } from '@temporalio/worker'
import type { NativeConnection } from '@temporalio/worker'
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

/** A fleet of no process is never ready, so verify needs one application that has answered. */
export const readyFleet = (target: number, nonce = 'another') => ({
  now: new Date(0).toISOString(),
  roster: [],
  heartbeats: [
    {
      id: 'app-1/b',
      node: 'app-1',
      boot: 'b',
      pid: 1,
      role: 'app' as const,
      startedAt: new Date(0).toISOString(),
      at: new Date(1000).toISOString(),
      ageMs: 0,
      leaseMs: 60_000,
      expiresAt: '2025-01-01T00:05:00.000Z',
      current: 1,
      epoch: 1,
      loaded: [{ version: target, provenAt: new Date(900).toISOString(), answers: nonce }],
      notLoaded: [],
      reportsUses: true,
      settings: null,
    },
  ],
  questions: [],
  settings: null,
  heartbeatMs: 100,
  leaseMs: 300,
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
  let nonce = ''
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
    askFleet: async (question: { nonce: string }) => {
      nonce = question.nonce
      return readyFleet(2)
    },
    readFleet: async () => readyFleet(2, nonce),
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
