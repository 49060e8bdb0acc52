import { expect, test } from 'vitest'
import type { TemporalLink } from '../../client/temporal/connection.ts'
import { requirePollers } from '../../client/temporal/pollers.ts'

interface Question {
  taskQueue: { name: string }
  taskQueueType: number
}

const pay = { name: 'pay', id: '0f' }

/** A Temporal client that answers only which workers poll. */
function linkTo(pollersOf: (question: Question) => unknown[]): TemporalLink {
  const describeTaskQueue = async (question: Question) =>
    Promise.resolve({ pollers: pollersOf(question) })
  return { namespace: 'default', client: { workflowService: { describeTaskQueue } } } as never
}

test('requirePollers names a queue that no worker polls, although workers are alive', async () => {
  const asked: unknown[] = []
  const link = linkTo(({ taskQueue, taskQueueType }) => {
    asked.push([taskQueue.name, taskQueueType])
    return taskQueue.name.endsWith('.control') ? [{}] : []
  })
  await expect(requirePollers(link, pay, ['control', 'rewrap'], 0)).rejects.toMatchObject({
    code: 'no-worker',
    message: 'workers are alive, but none with the role rewrap',
    hint: 'start one: keyturn worker --roles rewrap',
  })
  // Workflow tasks of the first queue, activity tasks of the second.
  expect(asked[0]).toEqual(['keyturn.pay.0f.control', 1])
  expect(asked.at(-1)).toEqual(['keyturn.pay.0f.rewrap', 2])
})

test('requirePollers waits for a worker that has just started', async () => {
  let looks = 0
  await requirePollers(
    linkTo(() => (++looks < 3 ? [] : [{}])),
    pay,
    ['control'],
    60_000,
  )
  expect(looks).toBe(3)
})

test('a client that may not ask Temporal for pollers continues', async () => {
  const link = linkTo(() => {
    throw new Error('permission denied')
  })
  await expect(requirePollers(link, pay, ['control', 'rewrap'], 0)).resolves.toBeUndefined()
})
