import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { MongoClient, type Document } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startMongod, type Mongod } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { recordAudit } from '../../store/audit-outbox.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'

/** MongoDB's fail points cut off three statements in a row, at any point of a command, as an election does. */
let folder: string
let mongod: Mongod
let fleet: Fleet
let admin: MongoClient
let doomed: string
let rotation: string

beforeAll(async () => {
  folder = await mkdtemp(join(process.cwd(), '.keyturn', 'cut-off-'))
  const { path } = await findServer('mongod', { print: console.error })
  mongod = await startMongod({ path, folder, parameters: ['enableTestCommands=1'] })
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], mongoUri: mongod.uri })
  admin = await MongoClient.connect(mongod.uri)
  const uri = `${mongod.uri}&appName=doomed`
  doomed = await fleet.writeConfig('doomed', { mongodb: { uri } })
  await fleet.fill(40)
  rotation = (await fleet.must('rotate', '--to-version', '2')).rotationId
  // More than fits into one reply of MongoDB.
  for (let entry = 0; entry < 110; entry += 1) {
    const told = { actor: 'test', action: 'node-expected' as const, subject: 'vm-a', details: {} }
    await recordAudit(fleet.store, told)
  }
  const odd = Array.from({ length: 150 }, () => ({ private_key: { key: { kek_version: 'none' } } }))
  await fleet.store.db.collection('certificates').insertMany(odd)
})
afterAll(async () => {
  await admin.close()
  await fleet.close()
  await mongod.stop()
  await rm(folder, { recursive: true, force: true })
})

async function failing(failCommands: readonly string[], how: Document): Promise<void> {
  const data = { failCommands, appName: 'doomed', ...how }
  const mode = { times: 3 }
  await admin.db('admin').command({ configureFailPoint: 'failCommand', mode, data })
}

async function hits(): Promise<number> {
  const off = { configureFailPoint: 'failCommand', mode: 'off' }
  return Number((await admin.db('admin').command(off))['count'])
}

const reads = ['find', 'aggregate', 'getMore', 'listCollections', 'listIndexes', 'count']
const looking = [
  'status',
  'scan',
  'scan --unwrap',
  'nodes',
  'doctor',
  'audit list',
  'audit verify',
  'quarantine list',
  'quarantine scan',
  'rotate --to-version 1 --dry-run',
  'report ROTATION',
]

test.each([
  ['the primary steps down', reads, { errorCode: 189 }],
  ['the state changes', reads, { errorCode: 11602 }],
  ['the connection ends', reads, { closeConnection: true }],
  ['the rest of an answer is lost', ['getMore'], { errorCode: 11602 }],
])('a command that reads continues when %s', async (_, commands, how) => {
  let cut = 0
  for (const line of looking) {
    const args = line.replace('ROTATION', rotation).split(' ')
    await failing(commands, how)
    const { code, stdout, stderr } = await fleet.cli('--config', doomed, ...args)
    cut += await hits()
    // 6: it names odd envelopes.
    expect([0, 6], `${line}: ${stdout}${stderr}`).toContain(code)
  }
  expect(cut).toBeGreaterThanOrEqual(commands === reads ? 3 * looking.length : 3)
})

test('a command that writes continues after another member becomes primary', async () => {
  const writes = ['insert', 'update', 'delete', 'findAndModify', 'create', 'createIndexes']
  const changing = ['setup', 'nodes expect vm-a', 'verify --target 1', 'rotate --to-version 1']
  let cut = 0
  for (const line of changing) {
    await failing(writes, { errorCode: 10107 })
    const { code, stdout, stderr } = await fleet.cli('--config', doomed, ...line.split(' '))
    cut += await hits()
    expect([0, 6], `${line}: ${stdout}${stderr}`).toContain(code)
  }
  expect(cut).toBeGreaterThanOrEqual(3 * (changing.length - 1))
})
