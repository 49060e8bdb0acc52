import type { Document } from 'mongodb'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { collections, messages, workflowIds } from '../../contracts/names.ts'
import type { RotationPhase } from '../../contracts/rotation.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { lastRotation, readRotation, runningRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { openFleet } from '../support/fleet.ts'
import type { Fleet } from '../support/fleet.ts'
import { holdPromote, holdSettle, holdSweep, holdVerify } from '../support/holds.ts'
import type { Hold } from '../support/holds.ts'
import { resetToBegin } from '../support/reset.ts'

/**
 * Operators terminate workflows in Temporal's UI, or reset them to the first task, in each phase of a rotation. The next
 * command continues, and no envelope is lost.
 */

const records = 120

let fleet: Fleet
beforeAll(async () => {
  fleet = await openFleet({ provider: 'pkcs11', nodes: ['vm-a'], config: { rewrap: { page: 10 } } })
  await fleet.fill(records)
})
afterAll(async () => {
  await fleet.close()
})

const locks: Hold[] = []
afterEach(async () => {
  for (const lock of locks.splice(0)) await lock.release()
})
beforeEach(async () => {
  to = (await fleet.active()) === 1 ? 2 : 1
  from = 3 - to
})

/** The versions of the next rotation: 1 and 2 alternate. */
let from = 1
let to = 2

/** Writes a document in an open transaction of the test, so that other writers wait. */
async function lockDocument(collection: string, filter: Document): Promise<Hold> {
  const session = fleet.store.client.startSession()
  session.startTransaction()
  const { matchedCount } = await fleet.store.db
    .collection(collection)
    .updateOne(filter, { $set: { held: true } }, { session })
  expect(matchedCount).toBe(1)
  const hold: Hold = {
    reached: () => Promise.resolve(),
    async release() {
      if (session.inTransaction()) await session.abortTransaction()
      await session.endSession()
    },
  }
  locks.push(hold)
  return hold
}

const rotateId = () => workflowIds.rotate(fleet.identity)

const pending = async (activity: string, workflowId = rotateId()) =>
  await fleet.until(`"${activity}" does not begin`, async () => {
    const handle = fleet.temporal.workflow.getHandle(workflowId)
    const described = await handle.describe().catch(() => null)
    const activities = described?.raw.pendingActivities ?? []
    return activities.some(({ activityType }) => activityType?.name === activity)
  })

const inPhase = async (phase: RotationPhase): Promise<void> => {
  await fleet.until(`it is not in ${phase}`, async () => {
    return (await runningRotation(fleet.store))?.phase === phase
  })
}

/** Holds finish where it records that the version was left. */
async function holdFinish(): Promise<Hold> {
  const settle = await kept(holdSettle(fleet))
  let row: Hold | null = null
  return {
    async reached() {
      await settle.reached()
      row = await lockDocument(collections.versions, { _id: from })
      await settle.release()
      await fleet.until('it does not close its ranges', async () => {
        const rotation = (await runningRotation(fleet.store))?._id
        const open = { '_id.rotation': rotation, closed: false }
        return (await fleet.store.db.collection(collections.ranges).countDocuments(open)) === 0
      })
    },
    release: async () => await row?.release(),
  }
}

const kept = async (opened: Promise<Hold>) => {
  const hold = await opened
  locks.push(hold)
  return hold
}

/** Holds a rotation in each phase until the test releases it. */
const phases: Record<RotationPhase, () => Promise<Hold>> = {
  async preflight() {
    const lock = await lockDocument(collections.versions, { _id: to })
    return { ...lock, reached: () => inPhase('preflight') }
  },
  verify: async () => await kept(holdVerify(fleet)),
  promote: async () => await kept(holdPromote(fleet)),
  rewrap: async () => await kept(holdSweep(fleet)),
  settle: async () => await kept(holdSettle(fleet)),
  finish: holdFinish,
}

const rotate = () => fleet.start('rotate', '--to-version', `${to}`)

/** Checks that each envelope was re-wrapped once; the next rotation goes back. */
async function completed(rotations: readonly string[]): Promise<void> {
  const all = await Promise.all(rotations.map((id) => sumCounters(fleet.store, id)))
  expect(all.reduce((sum, { rewrapped }) => sum + rewrapped, 0)).toBe(records)
  expect(all.map(({ quarantined }) => quarantined)).toEqual(all.map(() => 0))
  expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  for (const version of [from, to]) {
    expect(await readVersion(fleet.store, version)).toMatchObject({ rotation: null })
  }
}

for (const phase of Object.keys(phases) as RotationPhase[]) {
  test(`terminated in ${phase}: status and cancel report it, and the next rotate continues`, async () => {
    const hold = await phases[phase]()
    const command = rotate()
    await hold.reached()
    const first = (await runningRotation(fleet.store))?._id ?? ''
    await fleet.rotateWorkflow().terminate()
    const { code, json } = await command.end()
    expect({ code, error: json.error.code }).toEqual({ code: 5, error: 'rotation-failed' })
    const status = await fleet.must('status')
    expect(status).toMatchObject({ rotation: null, abandoned: { id: first, from, to } })
    const cancel = await fleet.cli('cancel')
    expect(cancel.json.error).toMatchObject({ code: 'no-rotation' })
    expect(cancel.json.error.hint).toContain(`keyturn rotate --to-version ${to}`)
    const removal = await fleet.cli('remove', '--version', `${from}`)
    expect(removal.code).not.toBe(0)
    await hold.release()
    const second = await fleet.must('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
    expect(second.outcome).toBe('completed')
    expect(await readRotation(fleet.store, first)).toMatchObject({ outcome: 'failed' })
    expect((await fleet.must('status'))['abandoned']).toBeUndefined()
    await completed([first, second.rotationId])
  })

  test(`reset in ${phase}: the command follows the new run, and no step is done twice`, async () => {
    const hold = await phases[phase]()
    const command = rotate()
    await hold.reached()
    const first = (await runningRotation(fleet.store))?._id ?? ''
    await resetToBegin(fleet.temporal, rotateId())
    await fleet.until('the follower does not hear of it', () =>
      Promise.resolve(command.stderr().includes('was reset')),
    )
    await hold.release()
    const { code, json } = await command.end()
    expect({ code, json }).toMatchObject({
      code: 0,
      json: { outcome: 'completed', rotationId: first },
    })
    await completed([first])
  })
}

test('a rotation reset after its end returns the recorded result', async () => {
  const before = await lastRotation(fleet.store)
  await resetToBegin(fleet.temporal, rotateId())
  expect(await fleet.rotateWorkflow().result()).toMatchObject({ outcome: 'completed' })
  expect(await readRotation(fleet.store, before?._id ?? '')).toEqual(before)
})

test('a cancel after a reset cancels the new run', async () => {
  const hold = await phases.rewrap()
  const command = rotate()
  await hold.reached()
  await resetToBegin(fleet.temporal, rotateId())
  await fleet.until('nothing is swept anew', async () => {
    return ((await fleet.rotateWorkflow().describe()).raw.pendingChildren ?? []).length > 0
  })
  const cancelled = fleet.start('cancel')
  // Released earlier, the rotation could complete before the command has started.
  await fleet.until('the cancel does not arrive', async () => {
    const { events } = await fleet.rotateWorkflow().fetchHistory()
    return (events ?? []).some((event) => {
      const accepted = event.workflowExecutionUpdateAcceptedEventAttributes
      return accepted?.acceptedRequest?.input?.name === messages.cancel
    })
  })
  await hold.release()
  expect((await cancelled.end()).code).toBe(0)
  const { code, json } = await command.end()
  expect({ code, outcome: json.outcome }).toEqual({ code: 7, outcome: 'cancelled' })
  const second = await fleet.must('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
  await completed([json.rotationId, second.rotationId])
})

test('a terminated or reset range continues from the cursor in its document', async () => {
  const hold = await phases.rewrap()
  const command = rotate()
  await hold.reached()
  const children = async () =>
    await fleet.until('no range is swept', async () => {
      const { raw } = await fleet.rotateWorkflow().describe()
      const [one] = raw.pendingChildren ?? []
      return one?.workflowId && one.runId ? { id: one.workflowId, run: one.runId } : null
    })
  const anew = async (run: string) =>
    await fleet.until('it does not begin again', async () => (await children()).run !== run)
  await fleet.until('only the held one is left', async () => {
    return ((await fleet.rotateWorkflow().describe()).raw.pendingChildren ?? []).length === 1
  })
  const { id, run } = await children()
  await fleet.temporal.workflow.getHandle(id).terminate()
  await anew(run)
  // A workflow cannot be reset before its first step.
  await fleet.until('it cannot be reset', () => {
    const isReset = resetToBegin(fleet.temporal, id)
    return isReset.then(
      () => true,
      () => false,
    )
  })
  await hold.release()
  const { code, json } = await command.end()
  expect({ code, outcome: json.outcome }).toEqual({ code: 0, outcome: 'completed' })
  await completed([json.rotationId])
})

test('verify reports that it was terminated, and the next verify asks again', async () => {
  const hold = await kept(holdVerify(fleet))
  const workflowId = workflowIds.verify(fleet.identity, to)
  const command = fleet.start('verify', '--target', `${to}`)
  const handle = fleet.temporal.workflow.getHandle(workflowId)
  await fleet.until('nobody asks', async () => await handle.describe().catch(() => null))
  await handle.terminate()
  const { code, json } = await command.end()
  expect({ code, message: json.error.message }).toEqual({
    code: 4,
    message: 'its workflow was terminated from outside',
  })
  await hold.release()
  expect(await fleet.must('verify', '--target', `${to}`)).toMatchObject({ ready: true })
})

test('an installation terminated after its intent is finished by the next one with the same key', async () => {
  const lock = await lockDocument(collections.install, {})
  const command = fleet.start('pkcs11-init', '--version', '3')
  const keyOf = async () => (await readVersion(fleet.store, 3))?.key_id?.toString('hex') ?? null
  await fleet.until('nothing is intended', keyOf)
  const intended = await keyOf()
  await pending('makeKek', workflowIds.install(fleet.identity, 3))
  await fleet.temporal.workflow.getHandle(workflowIds.install(fleet.identity, 3)).terminate()
  const { code, json } = await command.end()
  expect({ code, error: json.error.code }).toEqual({ code: 4, error: 'temporal-refused' })
  await lock.release()
  await fleet.must('pkcs11-init', '--version', '3')
  expect(await keyOf()).toBe(intended)
  await resetToBegin(fleet.temporal, workflowIds.install(fleet.identity, 3))
  const again: unknown = await fleet.temporal.workflow
    .getHandle(workflowIds.install(fleet.identity, 3))
    .result()
  expect(again).toMatchObject({ version: 3, created: false })
  expect(await fleet.must('verify', '--target', '3')).toMatchObject({ ready: true })
})

test('a rotation of a terminated policy run is continued by an operator’s rotate', async () => {
  await fleet.must('policy', 'set', '--every', '90d', '--remove-after', '30d')
  from = await fleet.active()
  const hold = await phases.rewrap()
  await fleet.must('policy', 'run')
  await hold.reached()
  const row = await runningRotation(fleet.store)
  const first = row?._id ?? ''
  // A version that was installed and never used, as after a run that ended after its installation.
  to = row?.to ?? 0
  const described = await fleet.rotateWorkflow().describe()
  const parent = described.raw.workflowExecutionInfo?.parentExecution?.workflowId ?? ''
  await fleet.temporal.workflow.getHandle(parent).terminate()
  await fleet.until('its rotation goes on without it', async () => {
    return (await fleet.rotateWorkflow().describe()).status.name !== 'RUNNING'
  })
  await hold.release()
  // The command does not begin another run, but finds that this one is gone, and leaves the rotation to an operator.
  expect((await fleet.cli('policy', 'run')).json.error.code).toBe('rotation-running')
  await fleet.until('the policy is not paused', async () => {
    const { policy } = (await fleet.must('status')) as { policy?: { paused: boolean } }
    return policy?.paused === true
  })
  const second = await fleet.must('rotate', '--from-version', `${from}`, '--to-version', `${to}`)
  expect(second.outcome).toBe('completed')
  await completed([first, second.rotationId])
  await fleet.must('policy', 'delete')
})
