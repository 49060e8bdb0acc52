import { figure, ratioOf, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const ownSize = { usual: 100_000, full: 200_000 }
/** A scan must take at most half the time of a rotation. */
const bar = { atLeast: 2 }

/** `scan --unwrap`, including the start of the command, against the phase `rewrap` of a rotation over the same records. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  const envelopes = sizeOf(options, ownSize)
  for (const provider of options.providers) {
    await withFixture({ provider, options }, async (fixture) => {
      await fillRecords(fixture.store, fixture.provider, envelopes)
      const [rotations, scans]: [Timed[], Timed[]] = [[], []]
      for (let pair = 0; pair < options.pairs; pair++) {
        rotations.push(await fixture.rotate(1 + (pair % 2), 2 - (pair % 2)))
        scans.push(
          await timed(async () => {
            const { opened } = await fixture.keyturn('scan', '--unwrap')
            if (opened !== envelopes) throw new Error(`it opened ${String(opened)}`)
            return envelopes
          }),
        )
        options.print(`  scan ${scans.at(-1)?.perSecond.toFixed(0) ?? ''}/s, ${provider}`)
      }
      const name = `scan --unwrap, ${provider}`
      all.figures.push(
        figure(name, 'envelopes/s', scans, 'start of the command included'),
        figure(`rotation, ${provider}`, 'envelopes/s', rotations),
      )
      all.ratios.push(ratioOf(`scan --unwrap ÷ rotation, ${provider}`, scans, rotations, bar))
    })
  }
  return all
}
