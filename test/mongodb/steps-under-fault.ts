import { expect } from 'vitest'
import type { Document } from 'mongodb'
import { collections, workflowIds } from '../../contracts/names.ts'
import type { RotationPhase } from '../../contracts/rotation.ts'
import { hasFence } from '../../store/fence.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { readRotation, runningRotation } from '../../store/rotations.ts'
import type { FaultRun } from '../support/fault-run.ts'
import type { Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { documentOn, lateProcess, lockDocument, pagesOn, running } from '../support/set-gates.ts'

/** Old envelopes that an application writes back during settle: the tail. */
const writtenBack = 40

/** The intent of a version meets the fault; the command ends as if nothing had happened. */
export async function installUnder(run: FaultRun, version: number): Promise<void> {
  const { fleet } = run
  const gate = await lockVersion(run, version)
  const command = fleet.start('env-init', '--version', `${version}`)
  await pending(fleet, workflowIds.install(fleet.identity, version), 'declareIntent')
  await run.meet({
    step: 'install',
    gate,
    isPassed: async () => (await readVersion(fleet.store, version))?.canary != null,
  })
  const { code, json, stdout, stderr } = await command.end()
  expect({ code, json }, stdout + stderr).toMatchObject({
    code: 0,
    json: { version, created: true },
  })
}

/**
 * One rotation meets the fault in each of its phases. It is paused between them, so that the set is whole before the next
 * phase begins. Returns its counters: each envelope is counted once.
 */
export async function rotateUnder(
  run: FaultRun,
  { from, to, records }: { from: number; to: number; records: number },
): Promise<void> {
  const { set, fleet } = run
  const row = async () => await runningRotation(fleet.store)
  const isIn = async (phase: RotationPhase) => (await row())?.phase === phase
  const reaches = (phase: RotationPhase) =>
    fleet.until(`the rotation is not in ${phase}`, () => isIn(phase), 60_000)
  const counted = async () => (await fleet.counters()).rewrapped
  const old = await someRecords(fleet)

  const preflight = await lockVersion(run, to)
  const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '2')
  await reaches('preflight')
  const id = (await row())?._id ?? ''
  await fleet.must('pause')
  await run.meet({
    step: 'preflight',
    gate: preflight,
    isPassed: async () => (await row())?.total != null,
  })

  const verify = await lockDocument(set, fleet, collections.questions, { _id: 'proof' })
  await fleet.must('resume')
  await pending(fleet, workflowIds.rotate(fleet.identity), 'askFleet')
  await fleet.must('pause')
  await run.meet({
    step: 'verify',
    gate: verify,
    isPassed: async () => ((await row())?.met ?? []).length > 0,
  })

  const promote = await lockDocument(set, fleet, collections.active, { _id: 'active' })
  await fleet.must('resume')
  await pending(fleet, workflowIds.rotate(fleet.identity), 'promote')
  await run.meet({
    step: 'promote',
    gate: promote,
    isPassed: async () => (await fleet.active()) === to,
  })

  await fleet.rewrapped(1)
  let swept = await counted()
  await run.meet({
    step: 'rewrap',
    gate: running(pagesOn(set, fleet)),
    letGo: async () => {
      swept = await counted()
    },
    isPassed: async () => (await counted()) > swept,
    hold: () => fleet.must('pause'),
  })

  const settle = await lateProcess(set, fleet)
  await fleet.must('rate', '0')
  await fleet.must('resume')
  await reaches('settle')
  const isTail = async () => (await openTails(fleet)) > 0
  await run.meet({
    step: 'settle',
    gate: settle,
    letGo: async () => {
      await fleet.must('rate', '1')
      await writeBack(fleet, old)
      await settle.catchUp()
    },
    isPassed: isTail,
    hold: () => fleet.must('pause'),
  })

  await fleet.must('resume')
  // Its ranges are taken over again first.
  await fleet.rewrapped((await counted()) + 1)
  await run.meet({
    step: 'tail',
    gate: running(pagesOn(set, fleet)),
    letGo: async () => {
      swept = await counted()
    },
    isPassed: async () => (await counted()) > swept,
    hold: () => fleet.must('pause'),
  })

  const finish = await lockVersion(run, from)
  await fleet.must('rate', '0')
  await fleet.must('resume')
  await fleet.until(
    'the ranges are not closed',
    async () => (await row())?.shards_closed === true,
    60_000,
  )
  await run.meet({
    step: 'finish',
    gate: finish,
    isPassed: async () => (await readRotation(fleet.store, id))?.ended_at != null,
  })

  const { code, json, stdout, stderr } = await rotation.end()
  expect({ code, json }, stdout + stderr).toMatchObject({
    code: 0,
    json: { outcome: 'completed', rotationId: id, remaining: 0 },
  })
  const { rewrapped, superseded, quarantined } = await sumCounters(fleet.store, id)
  expect({ all: rewrapped + superseded, quarantined }).toEqual({
    all: records + writtenBack,
    quarantined: 0,
  })
  expect(await fleet.verifyRecords()).toEqual({ [to]: records })
  await fleet.must('audit', 'verify')
}

/**
 * A removal meets the fault in its request, in its undo window and in the undo; requested again, in the step that destroys.
 * The fault comes after the guards of the request were evaluated, and before those of the last step are.
 */
export async function removeUnder(run: FaultRun, version: number, records: number): Promise<void> {
  const { set, fleet } = run
  const removal = workflowIds.remove(fleet.identity, version)
  const row = async () => await readVersion(fleet.store, version)
  const pendingRemoval = { state: 'pending-removal' }
  const query = { collection: collections.heartbeats, filter: { role: 'worker' } }

  const request = await lockVersion(run, version)
  const requested = fleet.start('remove', '--version', `${version}`)
  await pending(fleet, removal, 'requestRemoval')
  await run.meet({
    step: 'request',
    gate: request,
    isPassed: async () => (await row())?.removal?.fenced_at != null,
  })
  const first = await requested.end()
  expect(first, first.stdout + first.stderr).toMatchObject({ code: 0, json: pendingRemoval })

  await run.meet({
    step: 'window',
    gate: running(documentOn(set, fleet, query)),
    isPassed: async () => {
      const { dueAt } = await fleet.must('remove', '--version', `${version}`)
      return dueAt === first.json.dueAt
    },
  })

  const undo = await lockVersion(run, version)
  const aborted = await abortedOn(run)
  const undone = fleet.start('remove', '--version', `${version}`, '--undo')
  await fleet.until('undo does not meet the lock', async () => {
    return (await abortedOn(run)) > aborted
  })
  await run.meet({
    step: 'undo',
    gate: undo,
    isPassed: async () => (await row())?.removal === null,
  })
  expect(await undone.end()).toMatchObject({ code: 0, json: { state: 'deactivated' } })
  const [{ collection, field }] = places
  expect(await hasFence(fleet.store, { collection, fields: [field], version })).toBe(false)

  expect(await fleet.must('remove', '--version', `${version}`)).toMatchObject(pendingRemoval)
  // The window is over for a workflow that starts now.
  await fleet.temporal.workflow.getHandle(removal).terminate()
  await fleet.store.db
    .collection(collections.versions)
    .updateOne({ _id: version as never }, { $set: { 'removal.due_at': new Date(0) } })
  const destroy = await lockVersion(run, version)
  const destroyed = fleet.start('remove', '--version', `${version}`)
  await pending(fleet, removal, 'destroyVersion')
  await run.meet({
    step: 'destroy',
    gate: destroy,
    isPassed: async () => (await row())?.destroyed_at != null,
  })
  const { code, json, stdout, stderr } = await destroyed.end()
  expect({ code, json }, stdout + stderr).toMatchObject({ code: 0, json: { state: 'destroyed' } })
  // Chains what is still in the outbox.
  await fleet.must('audit', 'verify')
  const audited = await fleet.store.db
    .collection(collections.audit)
    .countDocuments({ action: 'version-destroyed', subject: `v${version}` })
  expect(audited).toBe(1)
  expect(await fleet.verifyRecords()).toEqual({ [version + 1]: records })
}

const lockVersion = ({ set, fleet }: FaultRun, version: number) =>
  lockDocument(set, fleet, collections.versions, { _id: version })

async function pending(fleet: Fleet, workflowId: string, activity: string): Promise<void> {
  const handle = fleet.temporal.workflow.getHandle(workflowId)
  await fleet.until(
    `"${activity}" does not begin`,
    async () => {
      // The workflow may not have been started yet.
      const described = await handle.describe().catch(() => null)
      const activities = described?.raw.pendingActivities ?? []
      return activities.some(
        ({ activityType, attempt }) => activityType?.name === activity && (attempt ?? 0) > 0,
      )
    },
    60_000,
  )
}

/** How many transactions have ended without a commit on the primary, such as one that has met a locked document. */
async function abortedOn({ set }: FaultRun): Promise<number> {
  const status = await set.command(await set.primary(), { serverStatus: 1 })
  return Number((status as { transactions: { totalAborted: unknown } }).transactions.totalAborted)
}

async function someRecords(fleet: Fleet): Promise<Document[]> {
  return await fleet.store.db.collection(places[0].collection).find().limit(writtenBack).toArray()
}

async function writeBack(fleet: Fleet, old: readonly Document[]): Promise<void> {
  const records = fleet.store.db.collection(places[0].collection)
  for (const record of old) await records.replaceOne({ _id: record['_id'] as never }, record)
}

async function openTails(fleet: Fleet): Promise<number> {
  const tails = { closed: false, '_id.shard': /^[1-9]\d*-/ }
  return await fleet.store.db.collection(collections.ranges).countDocuments(tails)
}
