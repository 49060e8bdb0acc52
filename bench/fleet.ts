import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandLine } from '../devstack/worker-process.ts'
import { ratioFrom, type BenchFigures } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture, type Fixture } from './fixture.ts'
import type { BenchOptions } from './options.ts'
import { startProcesses } from './real-fleet.ts'
import { joinHosts, type BenchFleet } from './simulated-fleet.ts'

/** The product's default timings, since their cost is what is measured. */
const timings = { heartbeat: '30s', lease: '90s', expire: '120s' }
const heartbeatSeconds = 30
/** Members that joined while the fleet was small followed change streams; they stop within this time. */
const streamsGoSeconds = 2 * heartbeatSeconds

/** Makes the sweep longer than a lease, as all but the smallest are: the time that settle adds after it is measured. */
const envelopes = 1_000
const sweepRate = Math.floor(envelopes / 100)

/** Whole heartbeats, since the processes were started within seconds of each other. */
const measuredSeconds = 2 * heartbeatSeconds

/**
 * What a large fleet costs and how long its rotation takes: `npm run bench -- fleet --processes 300`; with `--real` each is
 * an operating system's process with a keyring, of about 40 MB. The processor time is mongod's own (`serverStatus`, getrusage),
 * less what it needs without the fleet. Takes seven minutes, mostly waiting.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  return withFixture(
    { provider: 'env', options: { ...options, workers: 1 }, timings },
    async (fixture) => {
      await fillRecords(fixture.store, fixture.provider, envelopes)
      const alone = await coreShare(fixture, measuredSeconds)
      const { processes, print } = options
      const fleet = options.real
        ? await startProcesses(fixture, processes, print)
        : await joinHosts(fixture, processes)
      try {
        options.print(`${options.processes} processes have joined`)
        await sleep(streamsGoSeconds * 1_000)
        const beating = (await coreShare(fixture, measuredSeconds)) - alone
        return await figuresOf(fixture, options, fleet, beating)
      } finally {
        await fleet.close()
      }
    },
  )
}

async function figuresOf(
  fixture: Fixture,
  { processes, print }: BenchOptions,
  fleet: BenchFleet,
  beating: number,
): Promise<BenchFigures> {
  print(`heartbeats: ${(beating * 100).toFixed(2)} % of a core`)
  const verify = await secondsOf(() => fixture.keyturn('verify', '--target', '2'))
  print(`verify: ${verify.toFixed(1)} s`)
  const switchedAt: number[] = []
  fleet.onSwitched((at) => switchedAt.push(at))
  const { row } = await fixture.rotate(1, 2, '--max-rate', `${sweepRate}`)
  const promoted = row.promoted_at?.getTime() ?? Number.NaN
  const everywhere =
    switchedAt.length < fleet.size ? Infinity : (Math.max(...switchedAt) - promoted) / 1_000
  const { settle, finish } = row.phases ?? {}
  const swept = ((settle?.getTime() ?? Number.NaN) - promoted) / 1_000
  const settled = ((finish?.getTime() ?? Number.NaN) - (settle?.getTime() ?? 0)) / 1_000
  const lines = (await statusOf(fixture)).split('\n').length
  const figure = (name: string, unit: string, exact: number, note = '') => {
    const value = Math.round(exact * 10) / 10
    return { name: `${processes} processes: ${name}`, unit, value, runs: [value], idle: null, note }
  }
  const beats = (seconds: number) => [seconds / heartbeatSeconds]
  return {
    figures: [
      figure('verify', 's', verify),
      figure('the switch is with everybody', 's', everywhere, 'after promote'),
      figure('settle', 's', settled, `${Math.round(swept)} s after promote`),
      figure('status', 'lines', lines),
      ...(fleet.megabytesEach === null
        ? []
        : [figure('memory of a process with a keyring', 'MB', fleet.megabytesEach)]),
    ],
    ratios: [
      ratioFrom("heartbeats' share of a core", [beating], { atMost: 0.01 }),
      ratioFrom('verify in heartbeats', beats(verify), { atMost: 2 }),
      ratioFrom('settle in heartbeats, behind a sweep of a lease or more', beats(settled), {
        atMost: 2,
      }),
      ratioFrom('switch everywhere in heartbeats', beats(everywhere), { atMost: 2 }),
    ],
  }
}

/** The share of one core that mongod uses now, 1 being all of it. */
async function coreShare({ store }: Fixture, seconds: number): Promise<number> {
  const used = async () => {
    const status = await store.db.admin().command({ serverStatus: 1 })
    const usage = status['extra_info'] as { user_time_us: number; system_time_us: number }
    return (usage.user_time_us + usage.system_time_us) / 1e6
  }
  const before = await used()
  await sleep(seconds * 1_000)
  return ((await used()) - before) / seconds
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1_000
}

async function statusOf({ stack }: Fixture): Promise<string> {
  const args = [commandLine(), '--config', stack.configPath, 'status']
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: stack.env })
  return stdout.trim()
}
