import type { Client } from '@temporalio/client'
import type { StatusView } from '../../contracts/views.ts'
import type { RotateResult } from '../../contracts/rotation.ts'
import { withTemporal } from '../../client/rotations/connection.ts'
import { loadConfig } from '../../config/load-config.ts'
import type { ShardDoc } from '../../store/documents.ts'
import { waitUntil } from '../wait-until.ts'
import type { RunningCommand } from './commands.ts'
import { count, percent, secondsSince } from './figures.ts'
import { expectThat } from './narrator.ts'
import { dealtWith, pursue, reach, shardsByNode, takenOver } from './pursuit.ts'
import type { Pursuit } from './pursuit.ts'
import { nodes } from './scene.ts'
import type { Scene } from './scene.ts'

/** The worker is killed when this much is done. */
const killAt = 0.4
/** How long the demo looks for a moment in which a worker has a page in hand. */
const victimMs = 20_000
const liveMs = 60_000

export interface Rotated {
  readonly result: RotateResult
  readonly total: number
}

/** The rotation, with one worker killed in the middle of it. */
export async function rotateAndKill(scene: Scene): Promise<Rotated> {
  const { stack, tell, keyturn, store, maxRate } = scene
  const command = keyturn.start<RotateResult>(
    ...['rotate', '--from-version', '1', '--to-version', '2', '--max-rate', maxRate.toString()],
  )
  const pursuit = await pursue(store, command)
  tell.say(
    `preflight counted ${count(pursuit.total)} envelopes under v1; new secrets go to v2 already`,
  )
  tell.say(`Temporal UI while it runs: ${stack.temporalUi ?? 'on your own server'}`)
  await reach(pursuit, Math.floor(pursuit.total * 0.2))
  tell.say(`20 % re-wrapped, held back to ${count(maxRate)} envelopes a second for this demo`)
  const config = loadConfig({ file: stack.configPath })
  const victim = await withTemporal(config, async ({ client }) => {
    await reach(pursuit, Math.floor(pursuit.total * killAt))
    return killOne(scene, client, pursuit)
  })
  await restart(scene, victim)
  const result = await concluded(command, pursuit)
  return { result, total: pursuit.total }
}

/** SIGKILL to a worker that has pages in hand, `vm-a` if it does; answers with its node. */
async function killOne(scene: Scene, client: Client, pursuit: Pursuit): Promise<string> {
  const { tell, workers } = scene
  const { victim, lost } = await victimOf(client, pursuit)
  const worker = workers.get(victim)
  await worker?.process.kill()
  const killed = performance.now()
  const done = await dealtWith(pursuit)
  const share = percent(done, pursuit.total)
  tell.alarm(
    `SIGKILL to the worker of ${victim} (pid ${worker?.pid.toString() ?? '?'}) at ${count(done)} envelopes, ${share}, ` +
      `with ${lost.length.toString()} shard(s) in hand`,
  )
  await takenOver(pursuit, lost)
  const survivor = nodes.find((node) => node !== victim) ?? '?'
  tell.say(`${survivor} took over what it had in hand ${secondsSince(killed)} later and goes on`)
  return victim
}

/** A kill teaches nothing when the worker was idle: look until one is in the middle of a shard. */
async function victimOf(
  client: Client,
  pursuit: Pursuit,
): Promise<{ victim: string; lost: ShardDoc[] }> {
  const look = async () => {
    const held = await shardsByNode(client, pursuit)
    const victim = nodes.find((node) => held.has(node))
    return victim === undefined ? null : { victim, lost: held.get(victim) ?? [] }
  }
  return waitUntil('no worker has a shard in hand', look, { withinMs: victimMs })
}

async function restart({ stack, tell, workers, keyturn }: Scene, node: string): Promise<void> {
  const worker = await stack.startWorker(node)
  workers.set(node, worker)
  const live = async () => {
    const { fleet } = await keyturn.quietly<StatusView>('status')
    return fleet.some((entry) => entry.node === node && entry.processes.some(isNew))
  }
  const isNew = ({ pid }: { pid: number }) => pid === worker.pid
  await waitUntil(`${node} does not come back`, live, { withinMs: liveMs, everyMs: 500 })
  tell.say(`${node} is started again (pid ${worker.pid.toString()}) and back in the fleet`)
}

async function concluded(
  command: RunningCommand<RotateResult>,
  pursuit: Pursuit,
): Promise<RotateResult> {
  const result = await command.answer
  const { outcome, remaining, quarantined } = result
  expectThat(outcome === 'completed', 'the rotation to complete', outcome)
  expectThat(remaining === 0, 'no envelope to remain under v1', remaining.toString())
  expectThat(quarantined === 0, 'an empty quarantine', `${quarantined.toString()} envelopes`)
  expectThat(pursuit.total > 0, 'envelopes under v1 at the start', 'none')
  return result
}
