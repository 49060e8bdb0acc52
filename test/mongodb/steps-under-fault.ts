import { expect } from 'vitest'
import type { Document } from 'mongodb'
import { collections, workflowIds } from '../../contracts/names.ts'
import type { RotationPhase } from '../../contracts/rotation.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { readRotation, runningRotation } from '../../store/rotations.ts'
import type { FaultRun } from '../support/fault-run.ts'
import type { Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { lateProcess, lockDocument, pagesOn, running } from '../support/set-gates.ts'

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
  const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '10')
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
      await fleet.must('rate', '2')
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
