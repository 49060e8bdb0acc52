import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { createIndexes } from '../../store/indexes.ts'
import { openStore, type Store } from '../../store/store.ts'
import { freshName } from '../support/fresh.ts'
import { commands } from './real-store/commands.ts'
import { newWorld, settings, type World } from './real-store/world.ts'

/** KEYTURN_MODEL_RUNS: runs of up to KEYTURN_MODEL_STEPS steps each. A failure prints its seed: KEYTURN_MODEL_SEED repeats it. */
const numRuns = Number(process.env['KEYTURN_MODEL_RUNS'] ?? 4)
const steps = Number(process.env['KEYTURN_MODEL_STEPS'] ?? 80)
const seed = process.env['KEYTURN_MODEL_SEED']

describe('the protocol on the real store, with steps in random order', () => {
  let store: Store
  beforeAll(async () => {
    store = await openStore({ uri: inject('mongoUri'), database: freshName('model') })
    await createIndexes(store, settings.collections)
  })
  afterAll(async () => {
    await store.db.dropDatabase()
    await store.close()
  })

  test(
    'no order of beats, seals, sweeps, cancels, freezes, restores and removals breaks an invariant',
    {
      timeout: 60_000 + numRuns * 30_000,
    },
    async () => {
      const told: Record<string, number> = {}
      await fc.assert(
        fc.asyncProperty(commands(steps), async (run) => {
          let world: World | null = null
          try {
            await fc.asyncModelRun(async () => {
              world = await newWorld(store)
              return { model: {}, real: world }
            }, run)
          } catch (error) {
            const story = ((world as World | null)?.story ?? []).join('\n  ')
            throw new Error(`after:\n  ${story}\n${String(error)}`, { cause: error })
          } finally {
            const { frozen = [], story = [] } = (world as World | null) ?? {}
            for (const sweep of frozen) await sweep.thaw()
            for (const line of story) {
              const name = line.replace(/app-\d/, 'app').replace(/r\d/, 'record')
              told[name] = (told[name] ?? 0) + 1
            }
          }
        }),
        { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }), endOnFailure: false },
      )
      if (numRuns > 20) console.log(told)
      expect(Object.keys(told).length).toBeGreaterThan(5)
    },
  )
})
