import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collections } from '../../contracts/names.ts'
import { startMongod } from '../../devstack/mongod.ts'
import type { Mongod } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import type { TemporalServer } from '../../devstack/temporal-server.ts'
import { route } from '../support/each-provider.ts'
import { openFleet } from '../support/fleet.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'
import { holdRecord } from '../support/holds.ts'
import { pausedRotation } from '../support/paused-rotation.ts'
import { commandLine } from '../../devstack/worker-process.ts'
import { processes } from '../support/processes.ts'
import { smallDisk, whyNoSmallDisk } from '../support/small-disk.ts'
import type { SmallDisk } from '../support/small-disk.ts'

const records = 600
const missingRight = await whyNoSmallDisk()

/** Each server and one worker's log have a disk of their own; one at a time is filled. */
describe.skipIf(missingRight !== null)('a full disk', () => {
  const spawned = processes()
  const disks: SmallDisk[] = []
  let paths: { temporal: string; mongod: string }
  let temporal: TemporalServer
  let mongod: Mongod
  let fleet: Fleet

  const [logs, histories, data] = [() => disks[0]!, () => disks[1]!, () => disks[2]!]
  const mongodOptions = () => ({
    path: paths.mongod,
    folder: data().folder,
    // A checkpoint each second instead of each minute: it is what needs room.
    parameters: ['syncdelay=1'],
  })

  beforeAll(async () => {
    for (const mebibytes of [2, 64, 700]) disks.push(await smallDisk(mebibytes))
    const find = async (server: 'temporal' | 'mongod') =>
      (await findServer(server, { print: console.error })).path
    paths = { temporal: await find('temporal'), mongod: await find('mongod') }
    const { folder } = histories()
    temporal = await startTemporalServer({ path: paths.temporal, folder, ui: false })
    mongod = await startMongod(mongodOptions())
    const addresses = { temporalAddress: temporal.address, mongoUri: mongod.uri }
    fleet = await openFleet({ provider: 'env', nodes: ['vm-b'], ...addresses })
    await symlink(join(logs().folder, 'vm-a.log'), join(fleet.folder, 'vm-a.log'))
    await fleet.nodes.start('vm-a')
    await fleet.fill(records)
  })
  afterAll(async () => {
    await Promise.all(disks.map((disk) => disk.free()))
    await fleet.close()
    await Promise.all([temporal.stop(), mongod.stop()])
    await Promise.all(disks.map((disk) => disk.close()))
  })

  const completed = async (end: CliEnd, to: number, total: number) => {
    expect({ code: end.code, stderr: end.stderr }).toMatchObject({ code: 0 })
    expect(end.json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0 })
    expect({ rewrapped: end.json.rewrapped, superseded: end.json.superseded }).toEqual({
      rewrapped: total,
      superseded: 0,
    })
    expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  }
  const resume = async () => {
    await fleet.must('rate', '0')
    await fleet.must('resume')
  }

  test("under a worker's log costs lines and nothing else, and the log says so later", async () => {
    const { total } = await route(fleet)
    const { to, rotation } = await pausedRotation(fleet)
    const listen = /"listen":"([^"]+)"/.exec(await fleet.nodes.log('vm-a'))?.[1]
    await fleet.nodes.kill('vm-b')
    logs().fill()
    // Starts with a log that takes no line.
    const args = ['worker', '--node', 'vm-c', '--ephemeral', '--config', fleet.config]
    const command = ['-c', 'exec "$@" 2>> "$LOG"', 'sh', process.execPath, commandLine(), ...args]
    const env = { ...fleet.env, LOG: join(logs().folder, 'vm-c.log') }
    const other = spawned.spawn('/bin/sh', command, { env })
    const heartbeats = fleet.store.db.collection(collections.heartbeats)
    await fleet.until('vm-c does not come up', async () => {
      return (await heartbeats.countDocuments({ node: 'vm-c' })) > 0
    })
    await resume()
    await completed(await rotation.end(), to, total)
    expect(fleet.nodes.runs('vm-a')).toBe(true)
    const metrics = await (await fetch(`http://${listen}/metrics`)).text()
    expect(metrics).toMatch(/keyturn_log_lines_lost_total\{[^}]*\} [1-9]/)

    await logs().free()
    // An idle worker logs nothing, so it is given a line to write.
    process.kill(fleet.nodes.pid('vm-a'), 'SIGHUP')
    const gap = /"msg":"\d+ lines of this log could not be written: ENOSPC/
    await fleet.until('the log says nothing of the gap', async () =>
      gap.test(await fleet.nodes.log('vm-a')),
    )
    for (const line of (await fleet.nodes.log('vm-a')).split('\n').filter((text) => text !== '')) {
      // The last line before the gap may be cut.
      if (line.endsWith('}')) JSON.parse(line)
    }
    expect((await other.stop()).code).toBe(0)
    await fleet.nodes.start('vm-b')
  })

  test('under Temporal halts a rotation, is named, and the rotation completes when there is room', async () => {
    const { to, total } = await route(fleet)
    const hold = await holdRecord(fleet)
    const rotation = fleet.start('rotate', '--to-version', `${to}`)
    await hold.reached()
    histories().fill()
    await hold.release()
    // The page is written to MongoDB, although Temporal can record nothing.
    await fleet.rewrapped(total)
    await fleet.until('status does not say it', async () => {
      return (await fleet.must('status'))['temporal'] === 'unreachable'
    })
    await fleet.until('pause does not name the database', async () => {
      const { code, json } = await fleet.cli('pause')
      expect(code).toBe(4)
      return /its own database/.test(json.error.message)
    })
    const { code, json } = await fleet.cli('doctor')
    expect({ code, checks: json['checks'] }).toMatchObject({
      code: 4,
      checks: expect.arrayContaining([
        expect.objectContaining({
          check: 'temporal',
          state: 'fail',
          cure: expect.stringMatching(/full/) as string,
        }),
      ]) as object[],
    })
    expect(await fleet.nodes.log('vm-a')).toMatch(/gRPC call \w+ retried/)
    await histories().free()
    await completed(await rotation.end(), to, total)
  })

  test('under MongoDB ends mongod, is named, and the rotation completes when it runs again', async () => {
    const { total } = await route(fleet)
    const { to, rotation } = await pausedRotation(fleet)
    data().fill()
    await resume()
    expect(await mongod.process.ended).toEqual({ code: null, signal: 'SIGABRT' })
    const status = await fleet.cli('status')
    expect(status).toMatchObject({ code: 4, json: { error: { code: 'mongodb-unreachable' } } })
    const doctor = await fleet.cli('doctor')
    expect(doctor).toMatchObject({
      code: 4,
      stdout: expect.stringContaining('ECONNREFUSED') as string,
    })
    await fleet.until('the worker does not say it', async () =>
      /"msg":"waits for mongodb/.test(await fleet.nodes.log('vm-a')),
    )
    await data().free()
    mongod = await startMongod({ ...mongodOptions(), port: mongod.port })
    await completed(await rotation.end(), to, total)
  })
})
