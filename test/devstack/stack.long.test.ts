import { existsSync } from 'node:fs'
import { readFile, rm, stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Connection } from '@temporalio/client'
import { MongoClient } from 'mongodb'
import { afterEach, describe, expect, inject, test } from 'vitest'
import { loadConfig } from '../../config/load-config.ts'
import { freshFolder } from '../../devstack/stack-folder.ts'
import { startStack } from '../../devstack/stack.ts'
import type { Stack, StackOptions } from '../../devstack/stack.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { processes } from '../support/processes.ts'
import { livingIn } from './processes-in.ts'

const dist = (path: string) =>
  JSON.stringify(fileURLToPath(new URL(`../../dist/devstack/${path}`, import.meta.url)))

describe('a stack', () => {
  const run = processes()
  const stacks: Stack[] = []
  const start = async (options: Partial<StackOptions> = {}) => {
    const folder = options.folder ?? (await freshFolder('stack'))
    const defaults = {
      provider: 'env',
      nodes: ['vm-a'],
      keep: false,
      print: () => undefined,
    } as const
    const stack = await startStack({ ...defaults, ...options, folder })
    stacks.push(stack)
    return stack
  }
  afterEach(async () => {
    for (const stack of stacks.splice(0)) {
      await stack.stop()
      await rm(stack.folder, { recursive: true, force: true })
    }
  })

  test('has a MongoDB with transactions, a Temporal with a web UI, and leaves no process behind', async () => {
    const stack = await start()
    const client = new MongoClient(stack.mongoUri)
    await client.withSession((session) =>
      session.withTransaction(() =>
        client.db('a').collection('b').insertOne({ c: 1 }, { session }),
      ),
    )
    await client.close()
    const temporal = await Connection.connect({ address: stack.temporalAddress })
    await temporal.close()
    expect((await fetch(stack.temporalUi!)).status).toBe(200)

    await stack.stop()
    expect(existsSync(stack.folder)).toBe(false)
    await waitUntil('the servers still run', () => livingIn(stack.folder).length === 0, {
      withinMs: 60_000,
    })
  })

  test('starts again from a kept folder with its data, on other ports if necessary', async () => {
    const first = await start({ keep: true })
    const client = new MongoClient(first.mongoUri)
    await client.db('a').collection('b').insertOne({ c: 1 })
    await client.close()
    await first.stop()
    expect(existsSync(first.folder)).toBe(true)
    await rm(`${first.folder}/ports.json`)

    const second = await start({ folder: first.folder })
    expect(second.mongoUri).not.toBe(first.mongoUri)
    const again = new MongoClient(second.mongoUri)
    expect(await again.db('a').collection('b').countDocuments()).toBe(1)
    await again.close()
    expect(second.keyEnv).toEqual(first.keyEnv)
  })

  test.skipIf(inject('softhsm') === null)(
    'has one token for all nodes, and its PIN in a file that only its owner can read',
    async () => {
      const stack = await start({ provider: 'pkcs11', nodes: ['vm-a', 'vm-b'] })
      const pins = ['vm-a', 'vm-b'].map((node) => {
        const { kek, worker } = loadConfig({ file: stack.configFile(node), env: {} })
        return { pinFile: kek.pkcs11?.pinFile ?? '', listen: worker.listen }
      })
      expect(pins[0]?.pinFile).toBe(pins[1]?.pinFile)
      expect(pins[0]?.listen).not.toBe(pins[1]?.listen)
      const { mode } = await stat(pins[0]!.pinFile)
      expect(mode & 0o777).toBe(0o600)
      const pin = await readFile(pins[0]!.pinFile, 'utf8')
      for (const line of livingIn(stack.folder)) expect(line).not.toContain(pin)
    },
  )

  test('leaves no process when its owner is killed', async () => {
    const folder = await freshFolder('stack')
    const owner = run.spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `const { startStack } = await import(${dist('stack.js')})
       const stack = await startStack({ folder: ${JSON.stringify(folder)}, keep: true, provider: 'env', nodes: ['vm-a'], print: () => undefined })
       await stack.startWorker('vm-a')
       console.log('up')
       setInterval(() => undefined, 1000)`,
    ])
    await owner.line(/^up$/, 60_000)
    expect(livingIn(folder).length).toBeGreaterThanOrEqual(3)
    owner.process.signal('SIGKILL')
    await owner.exit()
    await waitUntil('something still runs', () => livingIn(folder).length === 0, {
      withinMs: 60_000,
    })
    await rm(folder, { recursive: true, force: true })
  })
})
