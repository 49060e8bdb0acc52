import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findSoftHsm } from '../devstack/servers/softhsm.ts'
import { freshFolder } from '../devstack/stack-folder.ts'
import { figure, ratioFrom, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { buildFaultModule } from './hsm.ts'
import { withFixture } from './fixture.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const milliseconds = 5
const sessions = 30
/** Unwrap, wrap, check: the most that an HSM with so many sessions can do in a second. */
const ideal = (1_000 * sessions) / (3 * milliseconds)
const bar = { atLeast: 0.9 }
/** Ten seconds of the ideal. */
const ownSize = { usual: 10 * ideal, full: 10 * ideal }

/**
 * The rotation through Temporal against a token whose calls take time, as those of a network HSM do: SoftHSM2 behind the
 * fault module (test/fault-hsm). No core is busy here, so the gap to the ideal is sessions that wait.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const softhsm = await findSoftHsm()
  if (softhsm === null) throw new Error('SoftHSM2 is missing: npm run demo shows how to install it')
  const folder = await freshFolder('bench-latency')
  const control = join(folder, 'fault')
  const setLatency = (ms: number) => writeFile(control, ms === 0 ? '' : `latency crypt ${ms}\n`)
  try {
    const module_path = await buildFaultModule(folder)
    Object.assign(process.env, {
      FAULT_HSM_MODULE: softhsm.modulePath,
      FAULT_HSM_CONTROL: control,
    })
    await setLatency(0)
    const pkcs11 = { module_path, max_sessions: sessions }
    const runs: Timed[] = []
    await withFixture({ provider: 'pkcs11', options, pkcs11 }, async (fixture) => {
      await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
      await setLatency(milliseconds)
      // The first pair opens the sessions and is not counted.
      for (let pair = 0; pair <= options.pairs; pair++) {
        const rotated = await fixture.rotate(1 + (pair % 2), 2 - (pair % 2))
        if (pair > 0) runs.push(rotated)
        options.print(
          `  rotation with ${milliseconds} ms a call: ${rotated.perSecond.toFixed(0)}/s`,
        )
      }
      await setLatency(0)
    })
    const name = `rotation, ${milliseconds} ms a call, ${sessions} sessions`
    const shares = runs.map(({ perSecond }) => perSecond / ideal)
    return {
      figures: [figure(name, 'envelopes/s', runs, `at best ${ideal}`)],
      ratios: [ratioFrom(`${name} ÷ ${ideal}`, shares, bar, runs)],
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
