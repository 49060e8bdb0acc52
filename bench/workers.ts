import { figure, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const counts = [1, 2, 4]
const ownSize = { usual: 50_000, full: 100_000 }

/** On one machine workers share the cores with MongoDB and the soft token; this shows what sharing costs. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    for (const workers of counts) {
      const runs: Timed[] = []
      await withFixture({ provider, options: { ...options, workers } }, async (fixture) => {
        await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
        for (let pair = 0; pair < options.pairs; pair++) {
          runs.push(await fixture.rotate(1 + (pair % 2), 2 - (pair % 2)))
        }
      })
      all.figures.push(figure(`rotation with ${workers} workers, ${provider}`, 'envelopes/s', runs))
    }
  }
  return all
}
