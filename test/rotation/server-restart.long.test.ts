import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { RotationView } from '../../contracts/views.ts'
import { startMongod } from '../../devstack/mongod.ts'
import type { Mongod } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import type { TemporalServer } from '../../devstack/temporal-server.ts'
import { route } from '../support/each-provider.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { quiet } from '../support/quiet.ts'

const records = 2_000

describe('a rotation whose servers are killed', () => {
  let folder: string
  let paths: { temporal: string; mongod: string }
  let temporal: TemporalServer
  let mongod: Mongod
  let fleet: Fleet

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'servers-'))
    const find = async (server: 'temporal' | 'mongod') =>
      (await findServer(server, { print: console.error })).path
    paths = { temporal: await find('temporal'), mongod: await find('mongod') }
    temporal = await startTemporalServer({ path: paths.temporal, folder, ui: false })
    mongod = await startMongod({ path: paths.mongod, folder })
    const provider = inject('softhsm') === null ? 'env' : 'pkcs11'
    const addresses = { temporalAddress: temporal.address, mongoUri: mongod.uri }
    fleet = await openFleet({ provider, ...addresses })
    await fleet.fill(records)
  })
  afterAll(async () => {
    await fleet.close()
    await Promise.all([temporal.stop(), mongod.stop()])
    await rm(folder, { recursive: true, force: true })
  })

  const startTemporal = async () => {
    const { ports } = temporal
    temporal = await startTemporalServer({ path: paths.temporal, folder, ports, ui: false })
    expect(temporal.ports).toEqual(ports)
  }
  const startMongo = async () => {
    const { port } = mongod
    mongod = await startMongod({ path: paths.mongod, folder, port })
    expect(mongod.port).toBe(port)
  }

  test('continues when Temporal is back, with exact counters', async () => {
    const { to, total } = await route(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '10')
    await fleet.rewrapped(10)
    await temporal.process.kill()
    await startTemporal()
    await fleet.must('rate', '0')
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect(json.rewrapped + json.superseded).toBe(total)
    expect(json.superseded).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  })

  test('is still paused after workers, Temporal and MongoDB were killed at once, and can be resumed', async () => {
    const { to, total } = await route(fleet)
    const nodes = ['vm-a', 'vm-b']
    await fleet.must('rotate', '--to-version', `${to}`, '--max-rate', '1', '--detach')
    await fleet.rewrapped(1)
    await fleet.must('pause')
    await quiet(fleet)
    const { rewrapped } = await fleet.counters()
    await Promise.all([
      ...nodes.map((node) => fleet.nodes.kill(node)),
      temporal.process.kill(),
      mongod.process.kill(),
    ])
    await Promise.all([startMongo(), startTemporal()])
    await Promise.all(nodes.map((node) => fleet.nodes.start(node)))
    // A query to a dead worker must time out first.
    await fleet.until(
      'it is not paused',
      async () => ((await fleet.must('status')).rotation as RotationView | null)?.paused ?? false,
      60_000,
    )
    expect(await fleet.counters()).toMatchObject({ rewrapped })
    await fleet.must('rate', '0')
    await fleet.must('resume')
    const { json } = await fleet.cli('rotate', '--to-version', `${to}`)
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect({ rewrapped: json.rewrapped, superseded: json.superseded }).toEqual({
      rewrapped: total,
      superseded: 0,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  })
})
