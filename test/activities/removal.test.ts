import { randomUUID } from 'node:crypto'
import { MockActivityEnvironment } from '@temporalio/testing'
import { expect, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { removalActivities } from '../../activities/removal.ts'
import type { RemoveInput } from '../../contracts/removal.ts'
import type { FleetSettings } from '../../contracts/settings.ts'
import { hasFence } from '../../store/fence.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { listAudit } from '../../store/kek-audit.ts'
import { writeSettings } from '../../store/kek-settings.ts'
import { readVersion, undoRemoval } from '../../store/kek-versions.ts'
import type { Store } from '../../store/store.ts'
import { certificates, configured, field, installVersion, testStore } from '../store/support.ts'

const store = await testStore()
const fence = { collection: certificates, fields: [field], version: 1 }

/** The store, but after each `collMod` that raises a fence `then` happens, before anybody else does anything. */
function afterFence(then: () => Promise<unknown>): Store {
  const db = new Proxy(store.db, {
    get(target, name) {
      if (name !== 'command') return Reflect.get(target, name, target) as unknown
      return async (command: Record<string, unknown>, options: object) => {
        const answer = await target.command(command, options)
        if ('collMod' in command && JSON.stringify(command).includes('$ne')) await then()
        return answer
      }
    },
  })
  return { ...store, db }
}

const removal = (): RemoveInput => ({
  ...{
    install: { name: 'test', id: '0f' },
    version: 1,
    request: randomUUID(),
    requestedBy: 'alice',
  },
  ...{ destroyHsmKey: false, acceptQuarantine: false, withoutFence: false },
  ...{ undoWindowMs: 0, afterMs: 0 },
})

async function request(on: Store, input: RemoveInput): Promise<unknown> {
  const { requestRemoval } = removalActivities({ store: on } as ActivityDeps)
  return await new MockActivityEnvironment().run(async () => await requestRemoval(input))
}

test('an undo between the fence and its record leaves no fence behind', async () => {
  for (const version of [1, 2]) await installVersion(store, version)
  await insertFirstActive(store, 2)
  const settings = { collections: configured } as unknown as FleetSettings
  await writeSettings(store, { settings, sha256: Buffer.alloc(32), by: 'alice' })

  const undone = removal()
  const between = afterFence(() => undoRemoval(store, 1, undone.request))
  await expect(request(between, undone)).rejects.toMatchObject({ code: 'removal-refused' })
  expect((await readVersion(store, 1))?.removal).toBeNull()
  expect(await hasFence(store, fence)).toBe(false)

  // A late attempt of the same request finds it taken back.
  await expect(request(store, undone)).rejects.toMatchObject({ code: 'removal-refused' })
  expect(await hasFence(store, fence)).toBe(false)
  expect(await listAudit(store)).toEqual([])

  await request(store, removal())
  expect(await hasFence(store, fence)).toBe(true)
})
