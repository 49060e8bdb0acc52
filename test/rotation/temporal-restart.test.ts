import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import type { TemporalServer } from '../../devstack/temporal-server.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'

describe('a rotation whose Temporal server dies', () => {
  let folder: string
  let path: string
  let server: TemporalServer
  let fleet: Fleet | undefined

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'temporal-'))
    path = (await findServer('temporal', { say: console.error })).path
    server = await startTemporalServer({ path, folder, ui: false })
  })
  afterAll(async () => {
    await fleet?.close()
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test('goes on when it is there again, and its counters are exact', async () => {
    const provider = inject('softhsm') === null ? 'env' : 'pkcs11'
    fleet = await openFleet({ provider, temporalAddress: server.address })
    await fleet.fill(2_000)
    const rotation = fleet.start('rotate', '--to-version', '2', '--max-rate', '400')
    await fleet.rewrapped(300)
    await server.process.kill()
    const { ports } = server
    server = await startTemporalServer({ path, folder, ports, ui: false })
    expect(server.ports).toEqual(ports)
    const { code, json, stderr } = await rotation.end()
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect(json.rewrapped + json.superseded).toBe(2_000)
    expect(json.superseded).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ 2: 2_000 })
  })
})
