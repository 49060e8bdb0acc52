import { MongoServerError } from 'mongodb'
import { expect, test } from 'vitest'
import { insertInstall, readInstall, recordHome } from '../../store/kek-install.ts'
import { readHome } from '../../store/keystore-home.ts'
import type { Store } from '../../store/store.ts'
import { testStore } from './support.ts'

const store = await testStore()

/** A user without `listCollections`, behind a mongos, which reports no hosts. */
function restricted(): Store {
  const db = new Proxy(store.db, {
    get(target, name) {
      if (name === 'listCollections') {
        return () => ({
          toArray: () => Promise.reject(new MongoServerError({ message: 'no', code: 13 })),
        })
      }
      if (name === 'command') return () => Promise.resolve({ msg: 'isdbgrid' })
      return Reflect.get(target, name, target) as unknown
    },
  })
  return { ...store, db }
}

test('a user who may read neither UUID nor hosts records no home', async () => {
  expect(await readHome(restricted())).toEqual({ collection: null, hosts: null })
  const row = await insertInstall(restricted(), { name: 'payments', created_by: 'alice' })
  expect(row.home).toEqual({ collection: null, hosts: null })
})

test('a home replaces only the one that was read before', async () => {
  const today = await readHome(store)
  expect(today.collection).not.toBeNull()
  const stale = { collection: 'another', hosts: null }
  expect(await recordHome(store, stale, today)).toBe(false)
  const recorded = (await readInstall(store))?.home ?? stale
  expect(await recordHome(store, recorded, today)).toBe(true)
  expect((await readInstall(store))?.home).toEqual(today)
})
