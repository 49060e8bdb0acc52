import { readFileSync } from 'node:fs'
import { runInNewContext } from 'node:vm'
import type { Document } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { collections } from '../../contracts/names.ts'
import { openKeyring, type Keyring } from '../../keyring/index.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { envelopeAt, places } from '../support/fleet-records.ts'
import { openFleet, type CliEnd, type Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'
import { administrator, startGuardedMongod, type GuardedMongod } from '../support/guarded-mongod.ts'

/**
 * Workers, commands and an application begin with no rights in MongoDB, each as a user of its own. What one lacks is granted
 * as its refusal names it, one statement at a time, so every right is missed once. In the end the granted rights are those
 * of the documented roles.
 */
interface Role {
  role: string
  privileges: { resource: { db: string; collection: string }; actions: string[] }[]
}

const install = freshName('rights')
const password = 'pw'
let mongod: GuardedMongod
let fleet: Fleet
let operator: User
let workers: User
let application: User

/** The roles of the documentation, as mongosh would make them in the fleet's database. */
function documentedRoles(): Role[] {
  const script = new URL('../../docs/examples/mongodb-roles.js', import.meta.url)
  const roles: Role[] = []
  const db = { getName: () => install, createRole: (role: Role) => roles.push(role) }
  runInNewContext(readFileSync(script, 'utf8'), { db })
  return roles
}

function documentedPrivileges(name: string): Role['privileges'] {
  const role = documentedRoles().find((each) => each.role === name)
  if (role === undefined) throw new Error(`no role "${name}" in the documentation`)
  return role.privileges
}

function documentedRights(name: string): string[] {
  return documentedPrivileges(name)
    .flatMap(({ resource, actions }) => actions.map((action) => `${action} ${resource.collection}`))
    .sort()
}

/** A user whose role starts with no rights. */
class User {
  readonly granted = new Set<string>()
  readonly config: string
  readonly #role: string

  private constructor(name: string, config: string) {
    this.#role = `role-${name}`
    this.config = config
  }

  static async create(name: string): Promise<User> {
    const uri = mongod.address({ user: name, password })
    const user = new User(name, await fleet.writeConfig(name, { mongodb: { uri } }))
    const role = user.#role
    await admin(install, { createRole: role, privileges: [], roles: [] })
    await admin('admin', { createUser: name, pwd: password, roles: [{ role, db: install }] })
    return user
  }

  /** Grants what a text names; false if it names nothing that is still missing. */
  async grant(text: string): Promise<boolean> {
    const named = [...text.matchAll(/this user needs ([\w ]+) on ("[^"]+"(?:, "[^"]+")*)/g)]
    const before = this.granted.size
    for (const [, actions = '', places = ''] of named) {
      for (const [, collection = ''] of places.matchAll(/"[^".]+\.?([^"]*)"/g)) {
        await this.#add(collection, actions.replace(' for an upsert', '').split(' and '))
      }
    }
    return this.granted.size > before
  }

  /** Grants the documented role, or a part of it. */
  async grantRole(name: string, isWanted: (right: string) => boolean = () => true): Promise<void> {
    for (const { resource, actions } of documentedPrivileges(name)) {
      const wanted = actions.filter((action) => isWanted(`${action} ${resource.collection}`))
      if (wanted.length > 0) await this.#add(resource.collection, wanted)
    }
  }

  async #add(collection: string, actions: string[]): Promise<void> {
    const rights = actions.map((action) => `${action} ${collection}`)
    if (rights.every((right) => this.granted.has(right))) return
    for (const right of rights) this.granted.add(right)
    const privileges = [{ resource: { db: install, collection }, actions }]
    await admin(install, { grantPrivilegesToRole: this.#role, privileges })
  }
}

function admin(database: string, command: Document): Promise<Document> {
  return fleet.store.client.db(database).command(command)
}

beforeAll(async () => {
  mongod = await startGuardedMongod()
  const uri = mongod.address(administrator)
  fleet = await openFleet({ provider: 'env', install, mongoUri: uri, nodes: [], versions: [] })
  // `setup` was run by the administrator; here the operator does it.
  await fleet.store.db.dropDatabase()
  operator = await User.create('operator')
  workers = await User.create('workers')
  application = await User.create('application')
})
afterAll(async () => {
  await fleet.close()
  await mongod.stop()
})

/** Runs a command again and again, each time with the right that the time before has named. */
async function untilItSucceeds(line: string): Promise<CliEnd> {
  for (;;) {
    const end = await whileWorkersLearn(
      fleet.cli('--config', operator.config, ...line.split(' ')),
      `keyturn ${line}`,
    )
    if (end.code === 0) return end
    const { error } = end.json
    expect(end, line).toMatchObject({ code: 4, json: { error: { code: 'mongodb-refused' } } })
    expect(error.hint).toContain('docs/security.md')
    expect(end.stderr).not.toMatch(/\n {4}at |fault of keyturn/)
    expect(await operator.grant(error.message), `${line}: ${error.message}`).toBe(true)
  }
}

let readTo = 0

/** Grants the workers what their log names, until `work` has ended: a step that is refused is tried again. */
async function whileWorkersLearn<T>(work: Promise<T>, what: string): Promise<T> {
  let isOver = false
  const done = () => {
    isOver = true
  }
  void work.then(done, done)
  const learn = async () => {
    const log = (await fleet.nodes.log('vm-a')).slice(readTo)
    await workers.grant(log.replaceAll('\\"', '"'))
    readTo += log.length
    return isOver
  }
  await waitUntil(`${what} does not end`, learn, { withinMs: 100_000, everyMs: 100 })
  return await work
}

test('setup and doctor name each right that the operator lacks', async () => {
  await untilItSucceeds('setup')
  await untilItSucceeds('doctor')
})

test('a worker that may not do something at its start ends with its name', async () => {
  for (;;) {
    const error = await fleet.nodes
      .start('vm-a', { config: workers.config })
      .then(() => null, String)
    if (error === null) break
    expect(error).toMatch(/error: mongodb refused: this user needs .*\nhint: .*docs\/security\.md/)
    expect(await workers.grant(error), error).toBe(true)
  }
})

test('a version is installed, and recorded once, however many rights were missing', async () => {
  for (const version of [1, 2]) await untilItSucceeds(`env-init --version ${version}`)
  await untilItSucceeds('verify --target 2')
  const { entries } = await fleet.must('audit', 'list')
  const installed = entries.filter(({ action }) => action === 'version-installed')
  expect(installed).toHaveLength(2)
})

test('an application with the documented role seals and opens; without it, it is told what it lacks', async () => {
  const open = () =>
    openKeyring({
      config: application.config,
      node: 'app',
      ephemeral: true,
      env: { ...process.env, ...fleet.env },
    })
  let keyring: Keyring | null = null
  while (keyring === null) {
    const opened = await open().catch((error: unknown) => error as KeyturnError)
    if (opened instanceof KeyturnError) {
      expect(opened).toMatchObject({ code: 'mongodb-refused' })
      expect(await application.grant(opened.message), opened.message).toBe(true)
    } else keyring = opened
  }
  // Counting its wraps and leaving are refused without an error; the rest of the role is for them.
  await application.grantRole('keyturnApplication')
  await fleet.records.fill(keyring, 60)
  expect(await fleet.records.verify(keyring)).toEqual({ 1: 60 })
  await keyring.close()
  const left = await fleet.store.db
    .collection(collections.heartbeats)
    .countDocuments({ node: 'app' })
  expect(left).toBe(0)
})

test('a rotation waits for what its workers lack, shows it, and then finishes', async () => {
  const lacking = ['insert rewrap_shards', 'update accounts', 'update certificates']
  await workers.grantRole('keyturn', (right) => !lacking.includes(right) && !/^collMod/.test(right))
  await operator.grantRole('keyturn', (right) => /^find/.test(right))
  const rotation = fleet.start('--config', operator.config, 'rotate', '--to-version', '2')
  for (const right of ['insert', 'update']) {
    const named = new RegExp(`this user needs [^"]*${right}[^"]* on "[^"]*\\.(rewrap_|acc|cert)`)
    await fleet.until(
      `status does not name ${right}`,
      async () => named.test((await fleet.cli('status')).stdout.replaceAll('\\"', '"')),
      60_000,
    )
    expect(await fleet.census()).toEqual({ 1: 60 })
    await workers.grantRole('keyturn', (each) => lacking.includes(each) && each.startsWith(right))
  }
  expect((await rotation.end()).json).toMatchObject({ outcome: 'completed', rewrapped: 60 })
  expect(await fleet.verifyRecords()).toEqual({ 2: 60 })
  // These rights were granted here; the workers need not learn them from the log.
  readTo = (await fleet.nodes.log('vm-a')).length
})

test('an application with the documented role records its use of a version that is pending removal', async () => {
  const [{ collection, field }] = places
  const { db } = fleet.store
  const record = await db.collection(collection).findOne()
  if (record === null) throw new Error('no record')
  const pending = { request: 'r', requested_by: 'test', guard_run: 0, without_fence: true }
  const open = { fenced_at: null, fence_try: null, hsm_key: null }
  const versions = db.collection<{ _id: number }>(collections.versions)
  const set = (removal: object | null) => versions.updateOne({ _id: 1 }, [{ $set: { removal } }])
  await set({ ...pending, ...open, requested_at: '$$NOW', due_at: '$$NOW' })
  const keyring = await openKeyring({
    config: application.config,
    node: 'app',
    ephemeral: true,
    env: { ...process.env, ...fleet.env },
  })
  const old = { ...envelopeAt(record, field), kek_version: 1 }
  await expect(keyring.open(old, { collection, field, id: record._id })).rejects.toMatchObject({
    code: 'kek-not-loaded',
  })
  await keyring.close()
  await set(null)
  expect(await db.collection(collections.uses).findOne()).toMatchObject({ count: 1 })
})

test('the other commands name each right that they lack', async () => {
  const lines = ['status', 'nodes', 'audit list', 'quarantine list', 'scan', 'nodes expect vm-x']
  for (const line of [...lines, 'nodes decommission vm-x']) await untilItSucceeds(line)
})

test('a removal is refused without collMod, and leaves nothing behind', async () => {
  await operator.grantRole('keyturn')
  const remove = () => fleet.cli('--config', operator.config, 'remove', '--version', '1')
  const refused = await remove()
  expect(refused, refused.stderr).toMatchObject({ code: 3 })
  expect(refused.stderr).toMatch(/"(accounts|certificates)": this user may not use collMod/)
  await workers.grantRole('keyturn')
  expect(await remove()).toMatchObject({ code: 0, json: { state: 'destroyed' } })
})

test('nothing was named that is not in the documented role', () => {
  const documented = documentedRights('keyturn')
  const named = [...operator.granted, ...workers.granted]
  expect(named.filter((right) => !documented.includes(right))).toEqual([])
})
