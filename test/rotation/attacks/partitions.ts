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

/** The connections that are cut. vm-a has an application beside its worker, on the same network. */
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
 * A partition that begins in a phase of a rotation. One of all nodes heals during the rotation, when the application's lease
 * has ended. One of a single node heals only after the end: the node returns with pages in flight to a fleet that continued
 * without it. The rotation completes, or it is refused before promote and has changed nothing.
 */
export async function withstand(
  stage: Stage,
  children: Processes,
  { partition, phase }: Attack,
): Promise<void> {
  const { fleet } = stage
  const { nodes, server } = partitions[partition]
  const { from, to } = await route(fleet)
  // A node of the previous attack may not have reconnected to Temporal yet.
  await fleet.until(
    'the fleet is not ready',
    async () => (await fleet.cli('verify', '--target', `${to}`)).code === 0,
    120_000,
  )
  const app = await startApplication(fleet, children, {
    node: 'app-1',
    isEphemeral: true,
    config: stage.configOf('vm-a'),
    recordsUri: stage.network('vm-a').recordsUri,
    within: stage.network('vm-a').within,
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
    // This fails if the rotation has been refused.
    await fleet.cli('rate', '1000')
    const end = await rotation.end()
    await heal()
    await app.writes(Date.now())
    if (end.code === 0) expect(end.json).toMatchObject({ outcome: 'completed', remaining: 0 })
    else await afterRefusal(fleet, end, { from, to })
    await settled(fleet, app, { from, to })
  } finally {
    // A failed attack restores the fleet.
    await hold.release()
    await heal()
    await app.process.kill()
    await forget(fleet, app)
  }
}

/** Checks that the refused rotation changed nothing, and that a rotation completes when all nodes are back. */
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

/** Checks that no seal under the old version began after settle had ended, and that every record opens. */
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

/** Deletes new records, so that the next attack does not have more to sweep. */
async function forget(fleet: Fleet, app: WritingApplication): Promise<void> {
  const ids = app.written().map(({ id }) => id)
  const [place] = places
  await fleet.store.db.collection(place.collection).deleteMany({ _id: { $in: ids as never[] } })
  for (const id of ids) fleet.records.book.delete(fleet.records.keyOf(place, id))
}
