import { writeFile, rename } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { signalGroup } from '../../devstack/supervised-child.ts'
import type { Fixture } from '../fixture.ts'
import type { Random } from './random.ts'
import type { SoakServers } from './servers.ts'
import type { TakeoverWatch } from './takeovers.ts'

export type FaultKind = 'worker' | 'freeze' | 'mongod' | 'temporal' | 'token'

export interface FaultTargets {
  fixture: Fixture
  servers: SoakServers
  watch: TakeoverWatch
  random: Random
  /** Control file of the fault module; null with `env`. */
  control: string | null
  /** Ends a worker by SIGABRT and searches its core dumps; null where the kernel writes none. */
  abort: (index: number) => Promise<number | null>
  print: (line: string) => void
}

/** Faults in the background, until they are stopped. */
export interface Faults {
  readonly counts: Record<FaultKind, number>
  /** Ends with everything repaired. */
  stop(): Promise<void>
}

/** Seconds between two faults. */
const pause = { least: 8, most: 28 }
/** As often as they are listed. A repaired target is free for the next fault. */
const kinds = [
  'worker',
  'worker',
  'worker',
  'worker',
  'freeze',
  'mongod',
  'mongod',
  'temporal',
  'token',
] as const
/** The first and then each sixth worker is ended by SIGABRT, with a core dump. */
const abortEvery = 6
/** What a throttled token takes, in crypt calls a second. */
const throttled = 1_500

/** One fault after another at random times; two are open at once when one takes longer to repair than the pause. */
export function startFaults(targets: FaultTargets): Faults {
  const { random, control, print } = targets
  const counts = { worker: 0, freeze: 0, mongod: 0, temporal: 0, token: 0 }
  const repairs = new Map<string, Promise<void>>()
  const ending = new AbortController()
  const run = async () => {
    for (;;) {
      await sleep(random.between(pause.least, pause.most) * 1_000, null, ending).catch(() => null)
      if (ending.signal.aborted) return
      const kind = random.of(kinds)
      // Drawn for each fault, so that one which is left out changes nothing of the later ones.
      const drawn = { at: random.between(0, 1), seconds: random.between(0, 1) }
      const target = kind === 'worker' || kind === 'freeze' ? 'host' : kind
      if (repairs.has(target) || (kind === 'token' && control === null)) continue
      counts[kind] += 1
      print(`  ${kind}`)
      const repaired = begin[kind]({ ...targets, counts }, drawn)
        .catch((error: unknown) => print(`  ${kind}: ${String(error)}`))
        .then(() => void repairs.delete(target))
      repairs.set(target, repaired)
    }
  }
  const running = run()
  return {
    counts,
    async stop() {
      ending.abort()
      await running
      await Promise.all(repairs.values())
    },
  }
}

/** Both from 0 to 1. */
interface Drawn {
  at: number
  seconds: number
}

type Fault = (targets: FaultTargets & Pick<Faults, 'counts'>, drawn: Drawn) => Promise<void>

const begin: Record<FaultKind, Fault> = {
  /** SIGKILL to a host's worker and its lanes; a supervisor starts it again. */
  async worker({ fixture, watch, abort, counts, print }, { at, seconds }) {
    const index = indexOf(fixture, at)
    if (counts.worker % abortEvery === 1) {
      watch.disturbed()
      const dumps = await abort(index)
      print(`  ${dumps ?? 'no'} core dumps searched`)
    }
    await fixture.workers[index]?.process.kill()
    watch.lost('kill')
    await sleep(1_000 + seconds * 4_000)
    await restartWorker(fixture, index)
  },

  /** A host that stands still, up to longer than two leases, and wakes with everything that it had in hand. */
  async freeze({ fixture, watch }, { at, seconds }) {
    const { pid } = fixture.workers[indexOf(fixture, at)] ?? {}
    if (pid === undefined) return
    signalGroup(pid, 'SIGSTOP')
    watch.lost('freeze')
    await sleep(1_000 + seconds * 12_000)
    signalGroup(pid, 'SIGCONT')
  },

  /** SIGKILL to the primary, or one time in three to another member. */
  async mongod({ servers: { set }, watch }, { at, seconds }) {
    watch.disturbed()
    const primary = await set.primary()
    const others = set.members.filter((member) => member !== primary)
    const member = at < 2 / 3 ? primary : (others[0] ?? primary)
    await member.kill()
    await sleep(500 + seconds * 5_000)
    await member.restart()
    await set.healthy()
  },

  async temporal({ servers, watch }, { seconds }) {
    watch.disturbed()
    await servers.killTemporal()
    await sleep(seconds * 4_000)
    await servers.restartTemporal()
  },

  async token({ control }, { at, seconds }) {
    if (control === null) return
    await setFault(control, at < 1 / 2 ? `throttle ${throttled}` : 'latency crypt 3')
    await sleep(2_000 + seconds * 8_000)
    await setFault(control, '')
  },
}

function indexOf({ workers }: Fixture, at: number): number {
  return Math.floor(at * workers.length)
}

/** Again and again, as a supervisor does: it cannot start while a server is away. */
async function restartWorker({ stack, workers }: Fixture, index: number): Promise<void> {
  const node = workers[index]?.node ?? ''
  for (;;) {
    const worker = await stack.startWorker(node).catch(() => null)
    if (worker !== null) {
      workers[index] = worker
      return
    }
    await sleep(1_000)
  }
}

let edition = 0

/** A comment makes each edition a file of another size: the module reads it again by that. */
export async function setFault(control: string, line: string): Promise<void> {
  edition += 1
  await writeFile(`${control}.draft`, `${line}\n#${'.'.repeat(edition % 97)}\n`)
  await rename(`${control}.draft`, control)
}
