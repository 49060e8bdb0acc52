import type { Client } from '@temporalio/client'
import { workflowIds } from '../../contracts/names.ts'
import type { RangeDoc } from '../../store/documents.ts'
import { identityOf, readInstall } from '../../store/kek-install.ts'
import { readRanges, sumCounters } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Store } from '../../store/store.ts'
import { waitUntil } from '../wait-until.ts'
import type { RunningCommand } from './commands.ts'
import { expectThat } from './reporter.ts'

/** A rotation that the demo observes through the database, not through the product's own progress. */
export interface WatchedRotation {
  readonly store: Store
  readonly rotation: string
  /** Envelopes under the old version when it began. */
  readonly total: number
  readonly command: RunningCommand<unknown>
}

/** Longest that any stage may take before the demo gives up. */
const stageMs = 5 * 60_000
const everyMs = 40

/** Waits until the rotation sweeps. Fails with the command's own error when that ends first. */
export async function watchRotation(
  store: Store,
  command: RunningCommand<unknown>,
): Promise<WatchedRotation> {
  return unlessEnded(command, 'the rotation to begin', async () => {
    const row = await runningRotation(store)
    if (row?.phase !== 'rewrap' || row.total === null) return null
    return { store, rotation: row._id, total: row.total, command }
  })
}

/** Waits until so many envelopes have been dealt with; answers with how many have. */
export async function reach(watched: WatchedRotation, envelopes: number): Promise<number> {
  const doing = `${envelopes.toString()} envelopes to be re-wrapped`
  return unlessEnded(watched.command, doing, async () => {
    const done = await dealtWith(watched)
    return done >= envelopes ? done : null
  })
}

export async function dealtWith({ store, rotation }: WatchedRotation): Promise<number> {
  const { rewrapped, superseded, quarantined } = await sumCounters(store, rotation)
  return rewrapped + superseded + quarantined
}

/** The ranges in whose sweep each node is now, as Temporal knows it from the workers' own names. */
export async function rangesByNode(
  client: Client,
  { store, rotation }: WatchedRotation,
): Promise<Map<string, RangeDoc[]>> {
  const [ranges, row] = await Promise.all([readRanges(store, rotation), readInstall(store)])
  if (row === null) return new Map()
  const install = identityOf(row)
  const holders = await Promise.all(
    ranges.map((range) =>
      holderOf(client, workflowIds.range(install, range.field, range._id.shard)),
    ),
  )
  const held = new Map<string, RangeDoc[]>()
  for (const [index, range] of ranges.entries()) {
    const node = holders[index]
    if (typeof node === 'string') held.set(node, [...(held.get(node) ?? []), range])
  }
  return held
}

/** The node whose worker runs the range's activity now, if one does. */
async function holderOf(client: Client, workflowId: string): Promise<string | undefined> {
  const described = await client.workflow
    .getHandle(workflowId)
    .describe()
    .catch(() => null)
  if (described?.status.name !== 'RUNNING') return undefined
  // A worker's identity is keyturn/<node>/<pid>.
  return described.raw.pendingActivities?.[0]?.lastWorkerIdentity?.split('/')[1]
}

/** Waits until each of these ranges goes on in another attempt than the one that was lost. */
export async function takenOver(
  watched: WatchedRotation,
  lost: readonly RangeDoc[],
): Promise<void> {
  const before = new Map(lost.map((range) => [range._id.shard, range]))
  await unlessEnded(watched.command, 'the lost ranges to go on elsewhere', async () => {
    const ranges = await readRanges(watched.store, watched.rotation)
    return ranges.every((range) => {
      const old = before.get(range._id.shard)
      return old === undefined || range.closed || range.attempt > old.attempt
    })
  })
}

async function unlessEnded<T>(
  command: RunningCommand<unknown>,
  what: string,
  check: () => Promise<T | null | false>,
): Promise<T> {
  let ended = false
  const answer = command.answer.then(() => {
    ended = true
  })
  answer.catch(() => undefined)
  const early = async (): Promise<never> => {
    await answer
    return new Promise<never>(() => undefined)
  }
  const reached = waitUntil(
    what,
    async () => {
      const found = await check()
      if (found === null || found === false) expectThat(!ended, what, 'that it ended first')
      return found
    },
    { withinMs: stageMs, everyMs },
  )
  return Promise.race([reached, early()])
}
