import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import {
  isAlive,
  pkcs11Fixture,
  randomDeks,
  sealedItems,
  until,
  type Pkcs11Fixture,
} from './fixture.ts'

describe.skipIf(inject('softhsm') === null)('lanes in child processes', () => {
  let fixture: Pkcs11Fixture
  let provider: Pkcs11Provider
  let v1: KekDescriptor
  let v2: KekDescriptor

  beforeAll(async () => {
    fixture = await pkcs11Fixture()
    provider = await fixture.open()
    v1 = await fixture.make(provider, 1)
    v2 = await fixture.make(provider, 2)
    await provider.load(v1)
    await provider.load(v2)
  })
  afterEach(() => expect(provider.loaded()).toEqual([1, 2]))
  afterAll(async () => {
    await provider.close()
    await fixture.close()
  })

  test('open under load, at most one for each core', async () => {
    const other = await fixture.open()
    expect(other.pool.pids).toHaveLength(1)
    await other.load(v1)
    await other.load(v2)
    const items = await sealedItems(other, 1, randomDeks(2_000))
    await other.rewrap({ from: 1, to: 2, check: 'all', items })
    expect(other.pool.pids).toHaveLength(2)
    expect(other.stats().sessions).toBe(2)
    await other.close()
  })

  test('repeat the batch of a lane that is killed in the middle of a page', async () => {
    const deks = randomDeks(10_000)
    const items = await sealedItems(provider, 1, deks)
    const before = provider.stats().reconnects
    const page = provider.rewrap({ from: 1, to: 2, check: 'all', items })
    await until(() => provider.pool.pids.length === 2)
    process.kill(provider.pool.pids[0]!, 'SIGKILL')
    const { outcomes } = await page
    const sealed = outcomes.map((outcome, index) => {
      if (!outcome.ok) throw new Error(outcome.message)
      return { iv: outcome.iv, wrapped: outcome.wrapped, aad: items[index]!.aadTo }
    })
    expect(await provider.unwrap(2, sealed)).toEqual(deks.map(({ dek }) => dek))
    expect(provider.stats().reconnects).toBeGreaterThan(before)
  })

  test('are replaced at the next call after all were killed while idle', async () => {
    const { pids } = provider.pool
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await provider.prove(1)
    expect(provider.pool.pids.some((pid) => pids.includes(pid))).toBe(false)
  })

  test('kill and replace a hanging lane at its deadline', async () => {
    const items = await sealedItems(provider, 1, randomDeks(500))
    process.kill(provider.pool.pids[0]!, 'SIGSTOP')
    const { outcomes } = await provider.rewrap({ from: 1, to: 2, check: 'all', items })
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
  })

  test('leave SIGINT and SIGTERM to the parent', async () => {
    const { pids } = provider.pool
    for (const pid of pids) {
      process.kill(pid, 'SIGINT')
      process.kill(pid, 'SIGTERM')
    }
    await provider.prove(1)
    await provider.prove(2)
    expect(provider.pool.pids).toEqual(pids)
  })

  test('end with close, which finishes batches in flight and refuses the rest', async () => {
    const other = await fixture.open()
    await other.load(v1)
    const { pids } = other.pool
    const proof = other.prove(1)
    const closing = other.close()
    await expect(proof).resolves.toBeUndefined()
    await closing
    await expect(other.prove(1)).rejects.toMatchObject({ code: 'pool-closed' })
    for (const pid of pids) expect(await isAlive(pid)).toBe(false)
    expect(other.stats().sessions).toBe(0)
  })

  test('end when their parent is killed, and do not keep an idle parent alive', async () => {
    const script = (end: string): string => `
      import { LanePool } from './dist/providers/pkcs11/pool/pool.js'
      import { silentLog } from './dist/observability/log.js'
      const config = ${JSON.stringify(fixture.config)}
      const pool = await LanePool.open({ config, pin: '${fixture.token.pin}', log: silentLog, cores: 1 })
      console.log(pool.pids.join(' '))
      ${end}`
    for (const end of ['setInterval(() => {}, 1000)', '']) {
      const parent = spawn(process.execPath, ['--input-type=module', '-e', script(end)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const exited = once(parent, 'exit')
      const [output] = (await once(parent.stdout, 'data')) as [Buffer]
      const child = Number(output.toString())
      expect(child).toBeGreaterThan(0)
      if (end !== '') {
        expect(await isAlive(child)).toBe(true)
        parent.kill('SIGKILL')
      }
      await exited
      await until(async () => !(await isAlive(child)))
    }
  })

  test('show no PIN in their arguments or their environment', async () => {
    process.env['LAB_PIN'] = fixture.token.pin
    const other = await fixture.open()
    Reflect.deleteProperty(process.env, 'LAB_PIN')
    for (const pid of other.pool.pids) {
      expect(await readFile(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(fixture.token.pin)
      expect(await readFile(`/proc/${pid}/environ`, 'utf8')).not.toContain(fixture.token.pin)
    }
    await other.close()
  })

  test('see a key that another process made after they were opened', async () => {
    const other = await fixture.open()
    const v3 = await fixture.make(other, 3)
    await other.close()
    await provider.load(v3)
    const items = await sealedItems(provider, 1, randomDeks(1_500))
    const { outcomes } = await provider.rewrap({ from: 1, to: 3, check: 'all', items })
    expect(outcomes.every(({ ok }) => ok)).toBe(true)
    await provider.unload(3)
  })

  test('notice that a key was replaced under its label while they held it', async () => {
    const other = await fixture.open()
    const v4 = await fixture.make(other, 4)
    await provider.load(v4)
    await other.ceremony.destroy(v4.label, Buffer.from(v4.keyId!))
    await expect(provider.load(v4)).rejects.toMatchObject({ code: 'key-not-found' })
    await fixture.make(other, 4)
    await expect(provider.load({ ...v4, keyId: null })).rejects.toMatchObject({ code: 'wrong-key' })
    await other.close()
  })
})
