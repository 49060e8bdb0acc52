import type { Document, Filter } from 'mongodb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemoveInput, RemoveResult } from '../../contracts/removal.ts'
import { hasFence } from '../../store/fence.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { endWindow, makeDue, removalIsOver } from '../support/removal-window.ts'

/** Two things at once: whichever wins, nothing is half done. */

const removal = { backup_window: '0s', undo_window: '1h' }

let fleet: Fleet
beforeAll(async () => {
  fleet = await openFleet({
    provider: 'env',
    nodes: ['vm-a'],
    versions: [1, 2, 3, 4],
    config: { removal },
  })
  await fleet.fill(20)
  for (const to of ['2', '3', '4']) await fleet.must('rotate', '--to-version', to)
})
afterAll(async () => {
  await fleet.close()
})

/** Runs `use` while the documents cannot be written by others: whatever would write them waits. */
async function holding(
  collection: string,
  filter: Filter<Document>,
  use: () => Promise<void>,
): Promise<void> {
  await fleet.store.client.withSession(async (session) => {
    session.startTransaction()
    const rows = fleet.store.db.collection(collection)
    const { matchedCount } = await rows.updateMany(filter, { $set: { held: true } }, { session })
    expect(matchedCount).toBeGreaterThan(0)
    try {
      await use()
    } finally {
      await session.abortTransaction()
    }
  })
}

async function guardRun(version: number): Promise<number> {
  return (await readVersion(fleet.store, version))?.removal?.guard_run ?? 0
}

/** Ends the window. Returns how to look again: by a workflow of the standing request, never of a later one. */
async function dueLook(version: number): Promise<() => Promise<RemoveResult>> {
  await makeDue(fleet, version)
  const standing = await currentRemoval(fleet.store, version)
  if (standing === null) throw new Error('no removal stands')
  const { _id: request } = standing
  const task = await insertTask(fleet.store, { kind: 'remove', by: 'test' })
  const input: RemoveInput = { install: fleet.identity, task, version, request }
  return async () => {
    const handle = await fleet.temporal.workflow.start(workflowTypes.remove, {
      workflowId: workflowIds.remove(fleet.identity, version),
      taskQueue: queues.control(fleet.identity),
      args: [input],
      memo: { request },
    })
    return (await handle.result()) as RemoveResult
  }
}

/** Runs `held` once the second look has begun and cannot write its outcome, then lets it, and runs `after`. */
async function atSecondLook(
  version: number,
  held: () => Promise<void>,
  after: () => Promise<void> = () => Promise.resolve(),
): Promise<RemoveResult> {
  const look = await dueLook(version)
  const before = await guardRun(version)
  let result: Promise<RemoveResult> | undefined
  await holding('kek_removals', { version, standing: true }, async () => {
    result = look()
    await fleet.until('the second look does not begin', async () => {
      return (await guardRun(version)) > before
    })
    await held()
  })
  if (result === undefined) throw new Error('nothing looks')
  await after()
  await removalIsOver(fleet, version)
  return await result
}

/** Either destroyed behind its fence, or as before the request without one. */
async function wholeState(version: number): Promise<'destroyed' | 'deactivated'> {
  const row = await readVersion(fleet.store, version)
  const [last] = await fleet.store.db
    .collection('kek_removals')
    .find({ version })
    .sort({ requested_at: -1 })
    .toArray()
  const isDestroyed = row?.destroyed_at != null
  for (const { collection, field } of places) {
    const fence = { collection, fields: [field], version }
    await fleet.until('the fence does not fit the state', async () => {
      return (await hasFence(fleet.store, fence)) === isDestroyed
    })
  }
  if (isDestroyed) expect(last).toMatchObject({ state: 'destroyed', standing: false })
  else {
    expect(row?.removal).toBeNull()
    expect(['withdrawn', 'refused']).toContain(last?.['state'])
    expect(last).toMatchObject({ standing: false })
  }
  const actions = (await chainedAudit(fleet.store))
    .filter(({ subject }) => subject === `v${version}`)
    .map(({ action }) => action)
  const destroyed = actions.filter((action) => action === 'version-destroyed')
  expect(destroyed).toHaveLength(isDestroyed ? 1 : 0)
  return isDestroyed ? 'destroyed' : 'deactivated'
}

async function reasonOf(version: number): Promise<string> {
  const entries = await chainedAudit(fleet.store)
  const undone = entries.findLast(({ action, subject }) => {
    return action === 'removal-undone' && subject === `v${version}`
  })
  return (undone?.details as { reason: string }).reason
}

test('two removals at once are one request', async () => {
  const command = ['remove', '--version', '1']
  const ends = await Promise.all([1, 2, 3].map(() => fleet.start(...command).end()))
  for (const { code, json } of ends) {
    expect({ code, state: json['state'] }).toEqual({ code: 0, state: 'pending-removal' })
  }
  expect(new Set(ends.map(({ json }) => json.dueAt)).size).toBe(1)
  const rows = fleet.store.db.collection('kek_removals')
  expect(await rows.countDocuments({ version: 1 })).toBe(1)
  const other = await fleet.cli(...command, '--without-fence')
  expect({ code: other.code, error: other.json.error.code }).toEqual({
    code: 3,
    error: 'removal-pending',
  })
  const entries = await chainedAudit(fleet.store)
  expect(entries.filter(({ action }) => action === 'removal-requested')).toHaveLength(1)
})

test('a rotation back to a version that is pending removal is refused, and one beside it runs', async () => {
  const back = await fleet.cli('rotate', '--from-version', '4', '--to-version', '1')
  expect(back.json.error.code).toBe('removal-pending')
  await fleet.must('rotate', '--from-version', '4', '--to-version', '3')
  await endWindow(fleet, 1)
  expect(await wholeState(1)).toBe('destroyed')
  await fleet.must('rotate', '--from-version', '3', '--to-version', '4')
})

test('a backup that is marked at the last look stops it', async () => {
  await fleet.must('remove', '--version', '2')
  const active = (await readVersion(fleet.store, 2))?.activated_at?.toISOString() ?? ''
  const { error } = await atSecondLook(2, async () => {
    await fleet.must('backup', 'mark', 'late', '--taken-at', active)
  })
  expect(error).toMatchObject({ code: 'removal-refused' })
  expect(await wholeState(2)).toBe('deactivated')
  expect(await reasonOf(2)).toBe('guard backups')
  await fleet.must('backup', 'drop', 'late')
})

test('settings that change within the window stop it until every process has them', async () => {
  await fleet.must('remove', '--version', '2')
  const config = await fleet.writeConfig('longer', { removal: { ...removal, undo_window: '2h' } })
  expect(await fleet.must('--config', config, 'setup')).toMatchObject({ settings: 'changed' })
  await endWindow(fleet, 2)
  expect(await wholeState(2)).toBe('deactivated')
  expect(await reasonOf(2)).toBe('guard settings-agree')
  expect(await fleet.must('setup')).toMatchObject({ settings: 'changed' })
})

test('an undo that is faster than the last step of a look undoes the removal', async () => {
  await fleet.must('remove', '--version', '2')
  // The look has passed all guards, and its worker stands still before it writes.
  await atSecondLook(
    2,
    () => {
      fleet.nodes.freeze('vm-a')
      return Promise.resolve()
    },
    async () => {
      await fleet.must('remove', '--version', '2', '--undo')
      fleet.nodes.thaw('vm-a')
    },
  )
  expect(await wholeState(2)).toBe('deactivated')
  expect(await reasonOf(2)).toBe('undone by its operator')
})

test('an undo and a last look at once end as one of them', async () => {
  for (const version of [3, 2]) {
    await fleet.must('remove', '--version', `${version}`)
    const look = await dueLook(version)
    const undo = fleet.cli('remove', '--version', `${version}`, '--undo')
    const [undone, removed] = await Promise.all([undo, look()])
    const state = await wholeState(version)
    expect(removed.state).toBe(state)
    expect({ state, undone: undone.code }).toEqual({ state, undone: state === 'destroyed' ? 3 : 0 })
  }
  expect(await fleet.verifyRecords()).toEqual({ 4: 20 })
  expect(await fleet.must('audit', 'verify')).toMatchObject({ ok: true })
})
