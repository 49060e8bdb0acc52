import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { keystore } from '../../store/keystore.ts'
import type { InstallDoc } from '../../store/documents.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { processes } from '../support/processes.ts'

/** Every program refuses a keystore of another schema by name, even if other documents differ too. */
const spawned = processes()
let fleet: Fleet
let own: InstallDoc

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'] })
  await fleet.fill(20)
  const row = await keystore.install(fleet.store).findOne({})
  if (row === null) throw new Error('setup left no identity')
  own = row
})
afterAll(() => fleet.close())

const place = { collection: 'certificates', field: 'private_key', id: 'one' }

/** Replaces `kek_install` by this document until the end of the test. */
async function becomes(row: object): Promise<void> {
  const install = keystore.install(fleet.store)
  onTestFinished(async () => {
    await install.replaceOne({ _id: 'install' }, own)
    await fleet.until('the worker does not poll again', async () => {
      return (await fleet.cli('verify', '--target', '1')).code === 0
    })
  })
  await install.replaceOne({ _id: 'install' }, row as InstallDoc)
}

/** The document as a schema without ids has it. */
const without = ({ name, created_at }: InstallDoc) => ({ _id: 'install', name, created_at })

const withoutSchema = (now: InstallDoc) =>
  Object.fromEntries(Object.entries(now).filter(([name]) => name !== 'schema'))

const layouts: [title: string, row: (now: InstallDoc) => object, code: string][] = [
  ['1', (now) => ({ ...now, schema: 1 }), 'schema-older'],
  ['1, of another shape', (now) => ({ ...without(now), schema: 1 }), 'schema-older'],
  ['missing', (now) => withoutSchema(now), 'schema-older'],
  ['null', (now) => ({ ...now, schema: null }), 'schema-older'],
  ['"2"', (now) => ({ ...now, schema: '2' }), 'schema-older'],
  ['2.5', (now) => ({ ...now, schema: 2.5 }), 'schema-newer'],
  ['3', (now) => ({ ...now, schema: 3 }), 'schema-newer'],
  ['99, of another shape', (now) => ({ ...without(now), schema: 99 }), 'schema-newer'],
]

const commands = `
setup|setup --moved --confirm DB|setup --copy --confirm DB|setup --restored --confirm DB
status|report r-1|scan|scan --unwrap|nodes|nodes expect vm-z|nodes decommission vm-a
verify --target 1|env-init --version 3|rotate --to-version 2|rotate --to-version 2 --dry-run
pause|resume|rate 5|cancel|remove --version 2|remove --version 2 --dry-run|remove --version 2 --undo
policy show|policy set --every 90d|policy run|policy pause|policy resume|policy delete
quarantine list|quarantine scan|quarantine retry|quarantine release --all|audit list|audit verify|audit head|audit export
`
  .trim()
  .split(/[\n|]/)

/** The collections that decisions are made from. */
const deciding = ['kek_versions', 'kek_active', 'kek_settings', 'kek_audit', 'kek_tasks']

async function contents(): Promise<unknown> {
  const { db } = fleet.store
  return await Promise.all(deciding.map((name) => db.collection(name).find().toArray()))
}

test.each(layouts)('every command refuses a keystore of schema %s', async (_, row, code) => {
  const before = await contents()
  await becomes(row(own))
  for (let at = 0; at < commands.length; at += 4) {
    const some = commands.slice(at, at + 4).map((line) => line.replace('DB', fleet.install))
    const ends = await Promise.all(
      some.map(async (line) => ({ line, ...(await fleet.cli(...line.split(' '))) })),
    )
    for (const { line, code: exit, json } of ends) {
      expect({ line, exit, error: json.error }).toMatchObject({
        line,
        exit: 3,
        error: { code, message: expect.stringContaining('has schema "') as string },
      })
    }
  }
  const doctor = await fleet.cli('doctor')
  expect(doctor.code).toBe(4)
  expect(doctor.json['checks']).toContainEqual(
    expect.objectContaining({
      check: 'mongodb',
      state: 'fail',
      detail: expect.stringMatching(/has schema ".*", this keyturn reads and writes 2/) as string,
    }),
  )
  expect(await contents()).toEqual(before)
})

test.each([
  [1, 'schema-older'],
  [3, 'schema-newer'],
])('a process that starts on schema %s ends, or does not open', async (schema, code) => {
  await becomes({ ...own, schema })
  const worker = spawned.worker('vm-b', fleet.config, { env: fleet.env })
  const { code: exit, stderr } = await worker.exit()
  expect(exit).toBe(3)
  expect(stderr).toMatch(/^error: the keystore in ".*" has schema "\d", this keyturn/m)
  await expect(fleet.withKeyring(() => Promise.resolve())).rejects.toMatchObject({ code })
  expect(
    (await fleet.store.db.collection('fleet_nodes').findOne({ _id: 'vm-b' as never })) ?? null,
  ).toBeNull()
})

test('running processes take no work and wrap nothing when the schema is raised, and still open', async () => {
  await fleet.withKeyring(async (keyring) => {
    const sealed = await keyring.seal('text', place)
    await becomes({ ...own, schema: 3 })
    const log = () => fleet.nodes.log('vm-a')
    await fleet.until('the worker goes on', async () => /degraded: schema-newer/.test(await log()))
    await fleet.until('the keyring goes on wrapping', async () =>
      keyring.seal('text', place).then(
        () => null,
        (error: unknown) => {
          expect(error).toMatchObject({ code: 'lease-expired' })
          expect((error as Error).message).toContain('schema')
          return true
        },
      ),
    )
    expect(await keyring.open(sealed, place)).toEqual(Buffer.from('text'))
  })
})
