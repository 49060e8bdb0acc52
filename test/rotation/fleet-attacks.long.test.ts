import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { slowRotation } from '../support/paused-rotation.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'

const variable = 'KEYTURN_ENCRYPTION_ENV_KEK_V2'
const otherKey = () => ({ [variable]: randomBytes(32).toString('hex') })

const refused = ({ json }: CliEnd, node: string) =>
  json.nodes.filter((one) => one.node === node && !one.ready).map(({ reason }) => reason)

/**
 * Attacks on readiness with real processes: in none does verify report ready. Each test leaves the one fleet intact.
 * test/protocol and test/activities test the decisions themselves.
 */
describe('verify cannot be fooled', () => {
  let fleet: Fleet
  beforeAll(async () => {
    fleet = await openFleet({ provider: 'env', nodes: ['vm-a', 'vm-b'], versions: [1, 2] })
  })
  afterAll(async () => {
    await fleet.close()
  })
  const verify = (target = 2) => fleet.cli('verify', '--target', `${target}`)

  test('by two processes under one node name, one of which holds another key', async () => {
    await fleet.nodes.start('twin', { as: 'vm-b', env: otherKey() })
    const end = await verify()
    expect(end.code).toBe(3)
    expect(refused(end, 'vm-b')).toEqual(['wrong-key'])
    expect(end.json.nodes.filter(({ node }) => node === 'vm-b')).toHaveLength(2)
    await fleet.nodes.stop('twin')
    await fleet.nodes.start('twin', { as: 'vm-b' })
    const both = await verify()
    expect(both.code).toBe(0)
    expect(both.json.nodes.filter(({ node }) => node === 'vm-b')).toHaveLength(2)
    await fleet.nodes.stop('twin')
  })

  test('by a node that restarts with an old configuration, or without the new key', async () => {
    await fleet.nodes.stop('vm-b')
    const config = await fleet.writeConfig('old', { removal: { backup_window: '9d' } })
    await fleet.nodes.start('vm-b', { config })
    const old = await verify()
    expect(old.code).toBe(3)
    expect(refused(old, 'vm-b')).toEqual(['config-differs'])
    expect((await fleet.cli('rotate', '--to-version', '2')).code).toBe(3)
    await fleet.nodes.stop('vm-b')
    await fleet.nodes.start('vm-b', { env: { [variable]: undefined } })
    const lacking = await verify()
    expect(lacking.code).toBe(3)
    expect(refused(lacking, 'vm-b')).toEqual(['material-missing'])
    await fleet.nodes.stop('vm-b')
    await fleet.nodes.start('vm-b')
    expect((await verify()).code).toBe(0)
  })

  test('by a node that is cut off from MongoDB, which is ready again after the cut', async () => {
    const proxy = await openTcpProxy(inject('mongoUri'))
    const config = await fleet.writeConfig('cut', { mongodb: { uri: proxy.uri } })
    await fleet.nodes.stop('vm-b')
    await fleet.nodes.start('vm-b', { config })
    expect((await verify()).code).toBe(0)
    proxy.hold()
    const end = await verify()
    expect(end.code).toBe(3)
    expect(refused(end, 'vm-b')).not.toEqual([])
    expect((await fleet.cli('rotate', '--to-version', '2')).code).toBe(3)
    expect(await fleet.active()).toBe(1)
    proxy.heal()
    await fleet.until('vm-b is never ready again', async () => (await verify()).code === 0, 60_000)
    await fleet.nodes.stop('vm-b')
    await proxy.close()
    await fleet.nodes.start('vm-b')
  })

  test('by a node that restarts without the new key during a rotation; the others continue without it', async () => {
    await fleet.fill(600)
    const { from, to, total, rotation } = await slowRotation(fleet)
    const lacking = { [`KEYTURN_ENCRYPTION_ENV_KEK_V${to}`]: undefined }
    await fleet.nodes.kill('vm-b')
    const config = await fleet.writeConfig('old', { removal: { backup_window: '9d' } })
    await fleet.nodes.start('vm-b', { config, env: lacking })
    await fleet.must('rate', '0')
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', rewrapped: total, remaining: 0 })
    expect(refused(await verify(to), 'vm-b')).toEqual(['material-missing'])
    expect(await fleet.verifyRecords()).toEqual({ [to]: total })
    await fleet.nodes.stop('vm-b')
    await fleet.nodes.start('vm-b')
    expect((await verify(from)).code).toBe(0)
  })
})
