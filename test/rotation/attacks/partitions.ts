import { expect } from 'vitest'
import { lastRotation } from '../../../store/rotations.ts'
import { route } from '../../support/each-provider.ts'
import type { CliEnd, Fleet } from '../../support/fleet.ts'
import { places } from '../../support/fleet-records.ts'
import { holdPromote, holdSettle, holdSweep, holdTail, holdVerify } from '../../support/holds.ts'
import type { Hold } from '../../support/holds.ts'
import type { Processes } from '../../support/processes.ts'
import type { ServerName } from '../../support/network.ts'
import { startApplication } from '../../support/writing-application.ts'
import type { WritingApplication } from '../../support/writing-application.ts'
import type { Stage } from './stage.ts'

/** Who loses whom. vm-a has an application beside its worker, on the same network. */
const partitions = {
  'vm-a and MongoDB': { nodes: ['vm-a'], server: 'mongodb' },
  'vm-a and Temporal': { nodes: ['vm-a'], server: 'temporal' },
  'all nodes and MongoDB': { nodes: ['vm-a', 'vm-b'], server: 'mongodb' },
} as const satisfies Record<string, { nodes: readonly string[]; server: ServerName }>

const phases = {
  verify: holdVerify,
  promote: holdPromote,
  sweep: holdSweep,
  settle: holdSettle,
  tail: holdTail,
} satisfies Record<string, (fleet: Fleet) => Promise<Hold>>

export interface Attack {
  readonly partition: keyof typeof partitions
  readonly phase: keyof typeof phases
}

/** Every partition in every phase. */
export const allAttacks: readonly Attack[] = Object.keys(partitions).flatMap((partition) =>
  Object.keys(phases).map((phase) => ({ partition, phase }) as Attack),
)

/**
 * A partition that begins in a phase of a rotation. That of all nodes heals in the middle, when the application's lease
 * has ended; that of one node only after the end: it comes back, with pages in hand, to a fleet that went on without it.
 * The rotation may be refused, if that comes before promote, and then nothing was touched; else it completes.
 */
export async function withstand(
  stage: Stage,
  children: Processes,
  { partition, phase }: Attack,
): Promise<void> {
  const { fleet } = stage
  const { nodes, server } = partitions[partition]
  const { from, to } = await route(fleet)
  // Whom the attack before had cut off may still be finding its way back to Temporal.
  await fleet.until(
    'the fleet is not ready',
    async () => (await fleet.cli('verify', '--target', `${to}`)).code === 0,
    120_000,
  )
  const app = await startApplication(fleet, children, {
    ...{ node: 'app-1', isEphemeral: true, config: stage.configOf('vm-a') },
    ...{ recordsUri: stage.network('vm-a').recordsUri, within: stage.network('vm-a').within },
  })
  const heal = async () => {
    for (const node of nodes) await stage.network(node).heal()
  }
  const hold = await phases[phase](fleet)
  try {
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '60')
    await hold.reached()
    const cut = Date.now()
    for (const node of nodes) await stage.network(node).lose(server)
    if (server === 'mongodb') await app.isRefused('lease-expired', cut)
    await hold.release()
    if (nodes.length > 1) await heal()
    // Nobody is there to hear it when the rotation has been refused.
    await fleet.cli('rate', '1000')
    const end = await rotation.end()
    await heal()
    await app.writes(Date.now())
    if (end.code === 0) expect(end.json).toMatchObject({ outcome: 'completed', remaining: 0 })
    else await afterRefusal(fleet, end, { from, to })
    await settled(fleet, app, { from, to })
  } finally {
    // One that fails leaves the field as it found it.
    await hold.release()
    await heal()
    await app.process.kill()
    await forget(fleet, app)
  }
}

/** The refusal was one: the fleet is as it was, and when all are there again the rotation goes through. */
async function afterRefusal(
  fleet: Fleet,
  { code, json, stderr }: CliEnd,
  { from, to }: { from: number; to: number },
): Promise<void> {
  expect({ code, stderr }).toMatchObject({ code: 3 })
  expect(json).toMatchObject({ outcome: 'refused', error: { code: 'not-ready' } })
  expect(await fleet.active()).toBe(from)
  expect(Object.keys(await fleet.census())).toEqual([`${from}`])
  await fleet.until(
    'the fleet is never ready again',
    async () => (await fleet.cli('rotate', '--to-version', `${to}`)).code === 0,
    120_000,
  )
}

/** Nothing was begun under the version that was left once settle had ended, and every record opens. */
async function settled(
  fleet: Fleet,
  app: WritingApplication,
  { from, to }: { from: number; to: number },
): Promise<void> {
  await app.writes(Date.now(), to)
  await app.stop()
  const settledAt = (await lastRotation(fleet.store))?.settled_at?.getTime()
  if (settledAt === undefined) throw new Error('the last rotation has not settled')
  const late = app.written().filter(({ version, begun }) => version === from && begun > settledAt)
  expect(late).toEqual([])
  expect(await fleet.verifyRecords()).toEqual({ [to]: fleet.records.book.size })
}

/** The next attack should not have more to sweep. */
async function forget(fleet: Fleet, app: WritingApplication): Promise<void> {
  const ids = app.written().map(({ id }) => id)
  const [place] = places
  await fleet.store.db.collection(place.collection).deleteMany({ _id: { $in: ids as never[] } })
  for (const id of ids) fleet.records.book.delete(fleet.records.keyOf(place, id))
}
