import { describe, expect, inject, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { readRoster } from '../../store/fleet-nodes.ts'
import { processes } from '../support/processes.ts'
import { openTestFleet, type TestFleet } from './test-fleet.ts'

const example = (name: string) =>
  new URL(`../../docs/examples/${name}.mjs`, import.meta.url).pathname

const envOf = ({ env, configFile, name }: TestFleet) => ({
  ...env,
  KEYTURN_CONFIG: configFile,
  DATABASE: name,
  MONGODB_URI: inject('mongoUri'),
  PORT: '0',
  NODE_NAME: 'web-1',
})

describe('the examples', () => {
  const children = processes()

  test('a plain script seals, stores, reads, opens and leaves nothing behind', async () => {
    const fleet = await openTestFleet()
    const { code, stdout, stderr } = await children
      .spawn(process.execPath, [example('plain-script')], {
        env: envOf(fleet),
      })
      .exit()
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe('correct horse battery staple (under version 1)\n')
    expect(await fleet.heartbeats()).toEqual([])
    expect(await readRoster(fleet.store)).toEqual([])
  })

  test('a web application keeps secrets across a switch of versions', async () => {
    const fleet = await openTestFleet({ versions: [1, 2] })
    const app = children.spawn(process.execPath, [example('http-app')], { env: envOf(fleet) })
    const url = (await app.line('listening on')).split(' ').at(-1)!
    const put = (id: string, body: string) => fetch(`${url}/secrets/${id}`, { method: 'PUT', body })
    const get = async (path: string) => (await fetch(`${url}/${path}`)).text()
    expect((await put('a', 'first')).status).toBe(204)
    expect(await get('healthz')).toBe('version 1\n')
    await fleet.activate(2)
    await waitUntil('it never switched', async () => (await get('healthz')) === 'version 2\n', {
      withinMs: 60_000,
    })
    expect((await put('b', 'second')).status).toBe(204)
    expect([await get('secrets/a'), await get('secrets/b')]).toEqual(['first', 'second'])
    expect((await fetch(`${url}/secrets/none`)).status).toBe(404)
    expect((await fetch(`${url}/elsewhere`)).status).toBe(404)
    expect(app.stderr()).toContain('seals under 2, no more 1')
    expect((await app.stop()).code).toBe(0)
    expect(await fleet.heartbeats()).toEqual([])
    expect(await readRoster(fleet.store)).toMatchObject([{ _id: 'web-1', kind: 'host' }])
  })
})
