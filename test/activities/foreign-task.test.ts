import { ApplicationFailure } from '@temporalio/common'
import { MockActivityEnvironment } from '@temporalio/testing'
import { expect, test } from 'vitest'
import {
  createControlActivities,
  createNodeActivities,
  createRewrapActivities,
} from '../../activities/index.ts'
import type { ActivityDeps, Queue } from '../../activities/deps.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { testStore } from '../store/support.ts'

const store = await testStore()
const met: [Queue, string | null][] = []
/** Only the store exists: a refused activity must not use anything else. */
const deps = {
  store,
  node: 'vm-a',
  config: { install: 'x' },
  onForeignTask: (queue: Queue, task: string | null) => met.push([queue, task]),
} as unknown as ActivityDeps
type Steps = Record<string, (input: unknown) => Promise<unknown>>
const queues = {
  control: createControlActivities(deps) as unknown as Steps,
  rewrap: createRewrapActivities(deps) as unknown as Steps,
  node: createNodeActivities(deps) as unknown as Steps,
}
const steps = Object.entries(queues).flatMap(([queue, activities]) =>
  Object.entries(activities).map(([name, run]) => ({ queue: queue as Queue, name, run })),
)

test.each(steps)('$queue: $name takes no work of another keystore', async ({ queue, run }) => {
  const inputs = [
    { task: 'f'.repeat(32) },
    { task: '' },
    {},
    undefined,
    null,
    // MongoDB would read this as a filter.
    { task: { $ne: null } },
    { task: { $gt: '' } },
    { task: ['a'] },
    { task: 7 },
  ]
  await insertTask(store, { kind: 'rotate', by: 'test' })
  for (const input of inputs) {
    met.length = 0
    const failure: unknown = await run(input).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ApplicationFailure)
    expect(failure).toMatchObject({ type: 'foreign-task', nonRetryable: false })
    expect(met).toHaveLength(1)
    expect(met[0]?.[0]).toBe(queue)
  }
})

test('work that was requested in this keystore is done', async () => {
  met.length = 0
  const task = await insertTask(store, { kind: 'rotate', by: 'test' })
  const read = async () => await queues.control['readCounters']?.({ task, rotation: 'r' })
  expect(await new MockActivityEnvironment().run(read)).toMatchObject({ rewrapped: 0 })
  expect(met).toEqual([])
})
