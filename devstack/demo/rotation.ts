import type { Client } from '@temporalio/client'
import type { StatusView } from '../../contracts/views.ts'
import type { RotateResult } from '../../contracts/rotation.ts'
import { withTemporal } from '../../client/temporal/connection.ts'
import { loadConfig } from '../../config/load-config.ts'
import type { RangeDoc } from '../../store/documents.ts'
import { waitUntil } from '../wait-until.ts'
import type { RunningCommand } from './commands.ts'
import { count, percent, secondsSince } from './figures.ts'
import { expectThat } from './reporter.ts'
import { dealtWith, watchRotation, reach, rangesByNode, takenOver } from './watch-rotation.ts'
import type { WatchedRotation } from './watch-rotation.ts'
import { nodes } from './demo-context.ts'
import type { DemoContext } from './demo-context.ts'

/** The worker is killed when this much is done. */
const killAt = 0.4
/** How long the demo waits for a worker with a range in progress. */
const victimMs = 20_000
const liveMs = 60_000

export interface Rotated {
  readonly result: RotateResult
  readonly total: number
}

/** The rotation, with one worker killed in the middle of it. */
export async function rotateAndKill(context: DemoContext): Promise<Rotated> {
  const { stack, reporter, keyturn, store, maxRate } = context
  const command = keyturn.start<RotateResult>(
    ...['rotate', '--from-version', '1', '--to-version', '2', '--max-rate', maxRate.toString()],
  )
  const watched = await watchRotation(store, command)
  reporter.print(
    `preflight counted ${count(watched.total)} envelopes under v1; new secrets go to v2 already`,
  )
  reporter.print(`Temporal UI while it runs: ${stack.temporalUi ?? 'on your own server'}`)
  await reach(watched, Math.floor(watched.total * 0.2))
  reporter.print(`20 % re-wrapped, held back to ${count(maxRate)} envelopes a second for this demo`)
  const config = loadConfig({ file: stack.configPath })
  const victim = await withTemporal(config, async ({ client }) => {
    await reach(watched, Math.floor(watched.total * killAt))
    return killOne(context, client, watched)
  })
  await restart(context, victim)
  const result = await concluded(command, watched)
  return { result, total: watched.total }
}

/** SIGKILL to a worker that has pages in flight, `vm-a` if it does; answers with its node. */
async function killOne(
  context: DemoContext,
  client: Client,
  watched: WatchedRotation,
): Promise<string> {
  const { reporter, workers } = context
  const { victim, lost } = await victimOf(client, watched)
  const worker = workers.get(victim)
  await worker?.process.kill()
  const killed = performance.now()
  const done = await dealtWith(watched)
  const share = percent(done, watched.total)
  reporter.alarm(
    `SIGKILL to the worker of ${victim} (pid ${worker?.pid.toString() ?? '?'}) at ${count(done)} envelopes, ${share}, ` +
      `with ${lost.length.toString()} range(s) in progress`,
  )
  await takenOver(watched, lost)
  const survivor = nodes.find((node) => node !== victim) ?? '?'
  reporter.print(`${survivor} took over its ranges ${secondsSince(killed)} later`)
  return victim
}

/** Waits for a worker in the middle of a range: killing an idle one would show nothing. */
async function victimOf(
  client: Client,
  watched: WatchedRotation,
): Promise<{ victim: string; lost: RangeDoc[] }> {
  const look = async () => {
    const held = await rangesByNode(client, watched)
    const victim = nodes.find((node) => held.has(node))
    return victim === undefined ? null : { victim, lost: held.get(victim) ?? [] }
  }
  return waitUntil('no worker has a range in progress', look, { withinMs: victimMs })
}

async function restart(
  { stack, reporter, workers, keyturn }: DemoContext,
  node: string,
): Promise<void> {
  const worker = await stack.startWorker(node)
  workers.set(node, worker)
  const live = async () => {
    const { fleet } = await keyturn.quietly<StatusView>('status')
    return fleet.some((entry) => entry.node === node && entry.processes.some(isNew))
  }
  const isNew = ({ pid }: { pid: number }) => pid === worker.pid
  await waitUntil(`${node} does not come back`, live, { withinMs: liveMs, everyMs: 500 })
  reporter.print(`${node} is started again (pid ${worker.pid.toString()}) and back in the fleet`)
}

async function concluded(
  command: RunningCommand<RotateResult>,
  watched: WatchedRotation,
): Promise<RotateResult> {
  const result = await command.answer
  const { outcome, remaining, quarantined } = result
  expectThat(outcome === 'completed', 'the rotation to complete', outcome)
  expectThat(remaining === 0, 'no envelope to remain under v1', remaining.toString())
  expectThat(quarantined === 0, 'an empty quarantine', `${quarantined.toString()} envelopes`)
  expectThat(watched.total > 0, 'envelopes under v1 at the start', 'none')
  return result
}
