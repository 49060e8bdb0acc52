import { ApplicationFailure } from '@temporalio/common'
import { MockActivityEnvironment } from '@temporalio/testing'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { createControlActivities } from '../../activities/index.ts'
import type { ControlDeps } from '../../activities/deps.ts'
import { noCounters } from '../../contracts/rotation.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { openStore, type Store } from '../../store/store.ts'
import { freshName } from '../support/fresh.ts'
import { openTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'

/** A worker that reaches Temporal but not MongoDB: no other worker can do the steps that it holds. */
let proxy: TcpProxy
let store: Store

beforeAll(async () => {
  proxy = await openTcpProxy(inject('mongoUri'))
  store = await openStore({ uri: proxy.uri, database: freshName('cutoff') })
})

afterAll(async () => {
  proxy.heal()
  await store.close()
  await proxy.close()
})

test.each(['hold', 'cut'] as const)(
  'a worker hands a step back soon when it cannot reach MongoDB (%s), and takes the next one when it can',
  async (how) => {
    const steps = createControlActivities({ store } as ControlDeps)
    const task = await insertTask(store, { kind: 'rotate', by: 'test' })
    const activity = new MockActivityEnvironment()
    const counters = () => activity.run(() => steps.readCounters({ task, rotation: 'r' }))
    expect(await counters()).toEqual(noCounters)
    proxy[how]()
    const beganMs = performance.now()
    const failure: unknown = await steps
      .readRemaining({ task, version: 1 })
      .catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ApplicationFailure)
    expect(failure).toMatchObject({ type: 'mongodb-unreachable', nonRetryable: false })
    // The driver ends a page that hangs after fifteen seconds.
    expect(performance.now() - beganMs).toBeLessThan(14_000)
    proxy.heal()
    await expect.poll(() => counters().catch(() => null), { timeout: 60_000 }).toEqual(noCounters)
  },
)
