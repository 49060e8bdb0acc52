import { randomUUID } from 'node:crypto'
import { settingsOf } from '../config/settings.ts'
import { settingsHash } from '../store/settings-hash.ts'
import { loadConfig } from '../config/load-config.ts'
import { defaultProveMs } from '../contracts/settings.ts'
import { joinFleet } from '../keyring/member.ts'
import { openProvider } from '../keyring/open-provider.ts'
import { createLog } from '../observability/log.ts'
import { askForProof } from '../store/proof-question.ts'
import { ratioFrom, type BenchFigures } from './figures.ts'
import { install } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import type { BenchOptions } from './options.ts'

const dayMs = 24 * 3_600_000
const heartbeatMs = 30_000
const beats = 200

/**
 * Crypt calls of an idle process with two versions: counted at its start, in `beats` heartbeats, and in one proof of each
 * version. A day at the default timings is extrapolated from these.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  return withFixture(
    { provider: 'pkcs11', options: { ...options, workers: 1 } },
    async (fixture) => {
      const config = loadConfig({ file: fixture.stack.configPath, env: fixture.stack.env })
      const log = createLog({ level: 'error', pretty: false })
      const provider = await openProvider(config, fixture.stack.env, log)
      try {
        const { store } = fixture
        const member = await joinFleet({
          store,
          provider,
          install,
          node: 'idle-1',
          kind: 'ephemeral',
          role: 'app',
          log,
          timings: config.fleet,
          settingsHash: settingsHash(settingsOf(config)),
        })
        const start = provider.stats().calls
        for (let beat = 0; beat < beats; beat += 1) await member.beat()
        const still = provider.stats().calls - start
        await askForProof(store, { nonce: randomUUID(), target: null, openMs: 1 })
        await member.beat()
        const proof = provider.stats().calls - start - still
        await member.leave()
        const day = start + (still * dayMs) / heartbeatMs / beats + (proof * dayMs) / defaultProveMs
        const figure = (name: string, value: number, note = '') => {
          return { name, unit: 'calls', value, runs: [value], idle: null, note }
        }
        return {
          figures: [
            figure('start', start, 'each version is found and loaded'),
            figure(`${beats} heartbeats`, still),
            figure('a proof of each version', proof),
            figure('a day', day, 'extrapolated: heartbeat 30s, prove 6h, one start'),
          ],
          ratios: [ratioFrom('crypt calls of an idle process a day', [day], { atMost: 50 })],
        }
      } finally {
        await provider.close()
      }
    },
  )
}
