/**
 * What a large fleet costs MongoDB: `node dist/bench/fleet-beats.js --processes 300`. Real members of one process beat
 * against a mongod of their own; its processor time is its own count (`serverStatus`, getrusage). Prints JSON: the time of
 * a heartbeat, the share of one core at a heartbeat every 30 s, and how long a switch takes to be with everybody.
 */
import { randomBytes } from 'node:crypto'
import { loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { setTimeout as pause } from 'node:timers/promises'
import { joinFleet, type FleetMember } from '../keyring/fleet-member.ts'
import { createLog } from '../observability/log.ts'
import { openEnvProvider } from '../providers/env/env-provider.ts'
import { createIndexes } from '../store/indexes.ts'
import { insertFirstActive } from '../store/kek-active.ts'
import { insertInstall } from '../store/kek-install.ts'
import { completeInstall, insertIntent } from '../store/kek-versions.ts'
import type { Store } from '../store/store.ts'
import { benchCollections, install, withBenchStore } from './bench-store.ts'

const { values } = parseArgs({
  options: {
    processes: { type: 'string', default: '300' },
    rounds: { type: 'string', default: '5' },
    mongodb: { type: 'string' },
  },
})
const processes = Number(values.processes)
const rounds = Number(values.rounds)
const heartbeatSeconds = 30
/** None beats by itself while the figures are taken. */
const timings = { heartbeatMs: 3_600_000, leaseMs: 7_200_000, expireMs: 7_300_000 }

const provider = openEnvProvider({
  ...{ install, variablePrefix: 'BENCH_KEK_V' },
  keks: new Map([1, 2].map((version) => [version, randomBytes(32)])),
})

/** Lock, rows and canaries of versions 1 and 2; 1 is active. */
async function installBoth(store: Store): Promise<void> {
  await createIndexes(store, benchCollections)
  const gcm = await provider.ceremony.gcmProfile()
  for (const version of [1, 2]) {
    const label = provider.ceremony.labelOf(version)
    const made = { version, label, keyId: null, provider: 'env', madeBy: 'bench' } as const
    await insertIntent(store, { ...made, origin: 'environment' })
    const canary = await provider.ceremony.makeCanary(version, label, null, gcm)
    await insertInstall(store, { install, provider: 'env', created_by: 'bench' })
    await completeInstall(store, version, { gcm, canary, label, keyId: null })
    await insertFirstActive(store, version)
  }
}

/** Processor time of mongod so far, in seconds. */
async function serverSeconds(store: Store): Promise<number> {
  const status = await store.db.admin().command({ serverStatus: 1 })
  const usage = status['extra_info'] as { user_time_us: number; system_time_us: number }
  return (usage.user_time_us + usage.system_time_us) / 1e6
}

async function measure(store: Store, members: readonly FleetMember[]) {
  // The first ones followed change streams when the fleet was small: they give them up half a minute later.
  await pause(31_000)
  for (const member of members) await member.beat()
  await pause(2_000)
  const idleBegan = await serverSeconds(store)
  await pause(5_000)
  const idle = ((await serverSeconds(store)) - idleBegan) / 5
  // One after the other, as they come in a fleet whose processes were not started at one moment.
  const began = performance.now()
  const cpuBegan = await serverSeconds(store)
  for (let round = 0; round < rounds; round += 1) {
    for (const member of members) await member.beat()
  }
  const seconds = (performance.now() - began) / 1000
  const cpu = (await serverSeconds(store)) - cpuBegan - idle * seconds
  const perBeat = cpu / (rounds * members.length)
  return {
    idlePercentOfACore: round2(idle * 100),
    millisecondsOfMongodPerBeat: round2(perBeat * 1000),
    beatsPerSecond: members.length / heartbeatSeconds,
    percentOfACore: round2((perBeat * members.length * 100) / heartbeatSeconds),
  }
}

const round2 = (value: number) => Math.round(value * 100) / 100

await withBenchStore(values.mongodb ?? null, async (store) => {
  await installBoth(store)
  const log = createLog({ level: 'error', pretty: false })
  const members: FleetMember[] = []
  for (let at = 0; at < processes; at += 1) {
    members.push(
      await joinFleet({
        ...{ store, provider, install, node: `vm-${at}`, kind: 'host', role: 'app', timings, log },
        settingsHash: randomBytes(32),
      }),
    )
  }
  const figures = await measure(store, members)
  console.log(JSON.stringify({ processes, ...figures, load: loadavg()[0] }))
  await Promise.all(members.map((member) => member.leave()))
})
await provider.close()
