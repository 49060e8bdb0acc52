import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { collections as keystore } from '../../contracts/names.ts'
import { runningRotation } from '../../store/rotations.ts'
import { openFleet, type CliJson, type Fleet } from '../support/fleet.ts'
import { holdVerify } from '../support/holds.ts'
import { pausedRotation } from '../support/paused-rotation.ts'

const certificates = 'certificates'
const elsewhere = 'elsewhere'

/** At one a second, it sweeps for two minutes. */
const records = 120

let fleet: Fleet

beforeAll(async () => {
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'] })
  await fleet.fill(records)
})
afterEach(bringBack)
afterAll(async () => {
  await fleet.close()
})

/** Replaces the collection while it has another name. */
const impostors: Record<string, () => Promise<unknown>> = {
  nothing: () => Promise.resolve(),
  'a copy with all its indexes': async () => {
    await fleet.store.db.createCollection(certificates)
    const made = await fleet.store.db.collection(elsewhere).listIndexes().toArray()
    const indexes = made.filter(({ name }) => name !== '_id_')
    await fleet.store.db.command({ createIndexes: certificates, indexes })
    await copyRecords()
  },
  'a view': () =>
    fleet.store.db.createCollection(certificates, { viewOn: elsewhere, pipeline: [] }),
  'a view that lets nothing through': () =>
    fleet.store.db.createCollection(certificates, {
      viewOn: elsewhere,
      pipeline: [{ $set: { secret: { $divide: [1, 0] } } }],
    }),
  'a capped collection': async () => {
    await fleet.store.db.createCollection(certificates, { capped: true, size: 2 ** 20 })
    await copyRecords()
  },
}

async function copyRecords(): Promise<void> {
  const records = await fleet.store.db.collection(elsewhere).find().toArray()
  await fleet.store.db.collection(certificates).insertMany(records)
}

/** Renames the collection, and puts something else in its place. */
async function putInPlace(impostor: string): Promise<void> {
  await fleet.store.db.renameCollection(certificates, elsewhere)
  await impostors[impostor]!()
}

async function bringBack(): Promise<void> {
  const there = await fleet.store.db.listCollections({ name: elsewhere }).toArray()
  if (there.length === 0) return
  await fleet.store.db.dropCollection(certificates)
  await fleet.store.db.renameCollection(elsewhere, certificates)
}

const codeOf = (impostor: string) =>
  impostor === 'nothing' ? 'collection-missing' : 'collection-replaced'

describe('a recorded collection that disappears during a rotation', () => {
  test.each(Object.keys(impostors))(
    'fails the rotation, is named by every command, and has lost no envelope when it is back: %s in its place',
    async (impostor) => {
      const code = codeOf(impostor)
      const from = await fleet.active()
      const to = 3 - from
      const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '1')
      await fleet.rewrapped(1)
      await putInPlace(impostor)
      const ended = await rotation.end()
      expect({ exit: ended.code, ...ended.json }).toMatchObject({
        exit: 5,
        outcome: 'failed',
        error: { code },
      })
      await expectNamed(code, { from, to })
      const made = await fleet.store.db.listCollections({ name: certificates }).toArray()
      expect(made).toHaveLength(impostor === 'nothing' ? 0 : 1)
      const isSwept = impostor === 'nothing' || impostor.startsWith('a copy')
      if (!isSwept) {
        const setup = await fleet.cli('setup')
        expect({ exit: setup.code, ...setup.json }).toMatchObject({
          exit: 3,
          error: { code: 'unsupported-shape' },
        })
      }

      await bringBack()
      await completes(from, to)
    },
  )

  test.each(['nothing', 'a view'])(
    'also fails the rotation in its tail: %s in its place',
    async (impostor) => {
      const { from, to, rotation } = await pausedRotation(fleet)
      // Settle waits for a process that seems to be alive.
      const gate = await holdVerify(fleet)
      await fleet.must('rate', '0')
      await fleet.must('resume')
      await fleet.until('it does not settle', async () => {
        return (await runningRotation(fleet.store))?.phase === 'settle'
      })
      await putInPlace(impostor)
      await gate.release()
      const ended = await rotation.end()
      expect({ exit: ended.code, ...ended.json }).toMatchObject({
        exit: 5,
        outcome: 'failed',
        error: { code: codeOf(impostor) },
      })
      await bringBack()
      await completes(from, to)
    },
  )

  test('is replaced by the one that setup records after a restore under another UUID', async () => {
    const from = await fleet.active()
    const to = 3 - from
    await putInPlace('a copy with all its indexes')
    await fleet.store.db.dropCollection(elsewhere)
    const refused = await fleet.cli('rotate', '--to-version', `${to}`)
    expect({ exit: refused.code, ...refused.json }).toMatchObject({
      exit: 3,
      error: { code: 'collection-replaced' },
    })
    expect(refused.json.error.hint).toContain('keyturn setup')
    const setup = await fleet.must('setup')
    expect(setup['changes']).toEqual([
      `collections: ${certificates} is another collection than the recorded one`,
    ])
    const { entries } = await fleet.must('audit', 'list')
    expect(entries.at(-1)).toMatchObject({ action: 'settings-changed' })
    await fleet.must('doctor')
    await completes(from, to)
  })
})

async function completes(from: number, to: number): Promise<void> {
  await fleet.must('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
  expect(await fleet.verifyRecords()).toEqual({ [to]: records })
}

/** Checks that no command counts its envelopes as zero. */
async function expectNamed(
  code: string,
  { from, to }: { from: number; to: number },
): Promise<void> {
  const again = await fleet.cli('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
  expect({ exit: again.code, ...again.json }).toMatchObject({ exit: 3, error: { code } })
  const removal = await fleet.cli('remove', '--version', `${from}`)
  expect({ exit: removal.code, ...removal.json }).toMatchObject({ exit: 3, error: { code } })
  expect(failing(removal.json.guards)).toContain('census-zero')
  const doctor = await fleet.cli('doctor')
  expect(doctor.code).not.toBe(0)
  expect(doctor.stdout).toContain(code)
  expect(await fleet.must('status')).toMatchObject({ lost: [{ code }] })
  for (const unwrap of [[], ['--unwrap']]) {
    const scan = await fleet.cli('scan', ...unwrap)
    expect({ exit: scan.code, ...scan.json }).toMatchObject({ exit: 3, lost: [{ code }] })
  }
  const versions = fleet.store.db.collection<{ _id: number }>(keystore.versions)
  expect(await versions.findOne({ _id: from })).toMatchObject({ destroyed_at: null, removal: null })
}

function failing(guards: CliJson['guards']): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}
