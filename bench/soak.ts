import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProviderName } from '../contracts/kek.ts'
import { findSoftHsm } from '../devstack/servers/softhsm.ts'
import { freshFolder, keepFolder } from '../devstack/stack-folder.ts'
import { openKeyring, type Keyring } from '../keyring/index.ts'
import type { BenchFigures } from './figures.ts'
import { withFixture, type Fixture } from './fixture.ts'
import { buildFaultModule } from './hsm.ts'
import { sizeOf, type BenchOptions } from './options.ts'
import { Book, field, soakCollections, type Compared } from './soak/book.ts'
import { setFault, startFaults } from './soak/faults.ts'
import { startProgress } from './soak/progress.ts'
import { randomFrom } from './soak/random.ts'
import { rotateOnce, type Ended } from './soak/rotations.ts'
import { SecretSearch, secretsOf } from './soak/secrets.ts'
import { startSoakServers, type SoakServers } from './soak/servers.ts'
import { figuresOf, isSound, type Soaked } from './soak/summary.ts'
import { watchTakeovers } from './soak/takeovers.ts'
import { untilDone } from './soak/until-done.ts'
import { startWriters } from './soak/writers.ts'

const ownSize = { usual: 100_000, full: 100_000 }
/** Of the envelopes, those that applications replace. */
const liveShare = 1 / 2
/** Hosts with a worker; applications run in this process. */
const workers = 3
const applications = ['app-1', 'app-2']
const timings = { heartbeat: '2s', lease: '10s', expire: '15s' }
/** Records that are opened between two rotations, and how often processes are searched for secrets. */
const sampled = 1_000
const searchEveryMs = 20_000

/**
 * Rotations back and forth for `--minutes`, half of them with each provider, while applications write and everything else
 * is killed, frozen or throttled at random times. Then each envelope is opened and compared with what was written. A run that
 * finds something keeps its folder.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  options.print(`seed ${options.seed}: --seed repeats the order of the faults`)
  const all: Required<BenchFigures> = { figures: [], ratios: [], series: [] }
  for (const provider of options.providers) {
    const soaked = await soakProvider(provider, options)
    const { figures, ratios, series } = figuresOf(provider, soaked)
    all.figures.push(...figures)
    all.ratios.push(...ratios)
    all.series.push(...series)
  }
  return all
}

async function soakProvider(provider: ProviderName, options: BenchOptions): Promise<Soaked> {
  const folder = await freshFolder('bench-soak')
  const control = provider === 'pkcs11' ? join(folder, 'fault') : null
  const servers = await startSoakServers(folder, options.print)
  const evidence = { isKept: false }
  try {
    const { temporalAddress } = servers
    return await withFixture(
      {
        provider,
        options: { ...options, workers },
        timings,
        servers: { mongoUri: servers.set.uri, temporalAddress },
        collections: soakCollections.map((name) => ({ name, envelopes: [field] })),
        logLevel: 'debug',
        ...(control === null ? {} : { pkcs11: await faultModule(folder, control) }),
      },
      async (fixture) => {
        try {
          const soaked = await withKeyrings(fixture, (keyrings) =>
            soak({ fixture, keyrings, servers, control, folder, options }),
          )
          evidence.isKept = !isSound(soaked)
          return soaked
        } catch (error) {
          evidence.isKept = true
          throw error
        } finally {
          if (evidence.isKept) await fixture.stack.stop({ keep: true })
        }
      },
    )
  } finally {
    await servers.stop()
    if (evidence.isKept) await keepFolder(folder)
    else await rm(folder, { recursive: true, force: true })
  }
}

async function faultModule(folder: string, control: string) {
  const softhsm = await findSoftHsm()
  if (softhsm === null) throw new Error('SoftHSM2 is missing: npm run demo shows how to install it')
  const module_path = await buildFaultModule(folder)
  const variables = { FAULT_HSM_MODULE: softhsm.modulePath, FAULT_HSM_CONTROL: control }
  Object.assign(process.env, variables)
  await setFault(control, '')
  return { module_path, max_sessions: 4 }
}

async function withKeyrings<T>(
  { stack }: Fixture,
  use: (keyrings: Keyring[]) => Promise<T>,
): Promise<T> {
  const keyrings: Keyring[] = []
  try {
    for (const node of applications) {
      keyrings.push(await openKeyring({ config: stack.configPath, node, env: stack.env }))
    }
    return await use(keyrings)
  } finally {
    await Promise.all(keyrings.map((keyring) => keyring.close()))
  }
}

interface Parts {
  fixture: Fixture
  keyrings: Keyring[]
  servers: SoakServers
  control: string | null
  folder: string
  options: BenchOptions
}

async function soak(parts: Parts): Promise<Soaked> {
  const { fixture, keyrings, servers, control, folder, options } = parts
  const { store } = fixture
  const { print, seed } = options
  const [keyring] = keyrings
  if (keyring === undefined) throw new Error('there is no application')
  const book = new Book()
  const envelopes = sizeOf(options, ownSize)
  const live = Math.floor(envelopes * liveShare)
  await book.fill(store, keyring, 'records', envelopes - live)
  await book.fill(store, keyring, 'live', live)
  const search = new SecretSearch(fixture, await secretsOf(fixture, book.samples))
  const random = randomFrom(seed)
  const writers = startWriters(store, keyrings, book)
  const watch = watchTakeovers(store)
  const progress = startProgress(store, writers, () => search.living(), searchEveryMs)
  const abort = async (index: number) => await search.core(index)
  const faults = startFaults({ fixture, servers, watch, random, control, print, abort })
  const began = performance.now()
  const endMs = began + (options.minutes * 60_000) / options.providers.length
  const rotations: Ended[] = []
  const compared: Compared = { opened: 0, lost: [], wrong: [] }
  while (performance.now() < endMs) {
    const ended = await rotateOnce(fixture)
    rotations.push(ended)
    print(`  ${told(ended, began)}`)
    const sample = book.sample(sampled)
    add(
      compared,
      await untilDone('no sample is opened', () => book.compare(store, keyring, sample)),
    )
  }
  await faults.stop()
  await untilDone('the replica set is not whole', () => servers.set.healthy())
  const last = await rotateOnce(fixture)
  rotations.push(last)
  print(`  ${told(last, began)}, without faults`)
  await writers.stop()
  await watch.stop()
  const { series, idle } = await progress.stop()
  await sleep(1_000)
  book.rest()
  add(compared, await untilDone('not all is opened', () => book.compare(store, keyring)))
  await search.living()
  const folders = [folder, fixture.stack.folder]
  await untilDone('not all is searched', () => search.lasting(folders))
  const { takeovers } = watch
  return {
    rotations,
    takeovers,
    compared,
    faults: faults.counts,
    writers,
    search,
    series,
    idle,
    seed,
  }
}

function add(total: Compared, { opened, lost, wrong }: Compared): void {
  total.opened += opened
  total.lost.push(...lost)
  total.wrong.push(...wrong)
}

function told({ row, counted }: Ended, began: number): string {
  const seconds = ((row.ended_at?.getTime() ?? 0) - row.started_at.getTime()) / 1_000
  const at = Math.round((performance.now() - began) / 1_000)
  const { rewrapped = 0, superseded = 0, quarantined = 0 } = row.counters ?? {}
  const sums = `${rewrapped} + ${superseded} + ${quarantined}`
  const exact = counted === null ? '' : `, records ${counted.sum} of ${counted.before}`
  const why = row.error === null ? '' : `: ${row.error.message}`
  const route = `v${row.from} → v${row.to}`
  const phases = Object.entries(row.phases ?? {}).map(([phase, since]) => {
    return `${phase} at ${((since.getTime() - row.started_at.getTime()) / 1_000).toFixed(0)}`
  })
  const end = `${row.outcome ?? ''} in ${seconds.toFixed(0)} s (${phases.join(', ')})`
  return `${at} s: ${route} ${end}, ${sums}${exact}${why}`
}
