import { createServer } from 'node:net'
import { MongoClient } from 'mongodb'
import { afterAll, describe, expect, inject, test } from 'vitest'
import { asStoreError } from '../../store/store-errors.ts'
import { openStore, serverNow, withStore } from '../../store/store.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'

const uri = inject('mongoUri')
const database = 'store-opened'

describe('openStore', () => {
  test('opens and reads the clock of the database', async () => {
    const now = await withStore({ uri, database }, serverNow)
    expect(now).toBeInstanceOf(Date)
  })

  test('uses the client of an application and leaves it open', async () => {
    const client = await MongoClient.connect(uri)
    afterAll(async () => client.close())
    await withStore({ uri: 'ignored', database, client }, serverNow)
    await expect(client.db(database).command({ ping: 1 })).resolves.toMatchObject({ ok: 1 })
  })

  test('throws mongodb-unreachable within some seconds, without a password', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    const began = performance.now()
    const failed = await openStore({
      uri: `mongodb://u:s3cret@127.0.0.1:${port}/`,
      database,
    }).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 'mongodb-unreachable' })
    expect(String(failed)).toContain(`"127.0.0.1:${port}"`)
    expect(JSON.stringify(failed) + String(failed)).not.toContain('s3cret')
    expect(performance.now() - began).toBeLessThan(20_000)
  })

  test('throws config-invalid for an invalid address, without quoting it', async () => {
    const failed = await openStore({ uri: 'mongodb://u:s3cret@', database }).catch(
      (error: unknown) => error,
    )
    expect(failed).toMatchObject({ code: 'config-invalid' })
    expect(String(failed)).not.toContain('s3cret')
  })

  test('throws mongodb-refused for a login that fails', async () => {
    const wrong = new URL(uri)
    wrong.username = 'nobody'
    wrong.password = 's3cret'
    const failed = await openStore({ uri: wrong.href, database }).catch((error: unknown) => error)
    expect(failed).toMatchObject({ code: 'mongodb-refused' })
    expect(String(failed)).not.toContain('s3cret')
  })

  test('turns a connection that breaks inside the bracket into mongodb-unreachable', async () => {
    const proxy = await openTcpProxy(uri)
    const broken = withStore({ uri: proxy.uri, database }, async (store) => {
      proxy.cut()
      return serverNow(store)
    })
    await expect(broken).rejects.toMatchObject({ code: 'mongodb-unreachable' })
    await proxy.close()
  })

  test('leaves errors alone that are not about the connection to MongoDB', () => {
    const error = new TypeError('x')
    expect(asStoreError(error)).toBe(error)
  })
})
