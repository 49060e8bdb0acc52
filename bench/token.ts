import { randomBytes } from 'node:crypto'
import { canaryAad } from '../envelope/aad.ts'
import type { KekProvider, RewrapItem } from '../providers/provider.ts'
import { figure, type BenchFigures, type Timed } from './figures.ts'
import { install } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const tokenSize = { usual: 50_000, full: 50_000 }
/** Batches in flight, as a rotation has them. */
const inFlight = 4

/** The raw token: unwrap, wrap and check of envelopes in memory, through the lanes of the product. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const figures: BenchFigures = { figures: [], ratios: [] }
  for (const name of options.providers) {
    const runs = await withFixture({ provider: name, options }, ({ provider }) =>
      tokenRuns(provider, options),
    )
    figures.figures.push(tokenFigure(name, runs, options))
  }
  return figures
}

export async function tokenRuns(provider: KekProvider, options: BenchOptions): Promise<Timed[]> {
  const { page, check, pairs } = options
  const items = await itemsOf(provider, Math.min(sizeOf(options, tokenSize), tokenSize.full))
  const runs: Timed[] = []
  for (let pair = 0; pair < pairs; pair++) {
    runs.push(
      await timed(async () => {
        let next = 0
        const line = async () => {
          while (next < items.length) {
            const some = items.slice(next, (next += page))
            await provider.rewrap({ from: 1, to: 2, check, items: some })
          }
        }
        await Promise.all(Array.from({ length: inFlight }, line))
        return items.length
      }),
    )
  }
  return runs
}

export function tokenFigure(name: string, runs: Timed[], { check }: BenchOptions) {
  const calls = { all: 3, sampled: 2 + 1 / 16, none: 2 }[check]
  const each = `${calls.toString()} calls an envelope`
  return figure(`raw token, ${name}`, 'envelopes/s', runs, each)
}

async function itemsOf(provider: KekProvider, count: number): Promise<RewrapItem[]> {
  const items: RewrapItem[] = []
  const [aadFrom, aadTo] = [canaryAad(install, 1), canaryAad(install, 2)]
  while (items.length < count) {
    const size = Math.min(1_000, count - items.length)
    const deks = Array.from({ length: size }, () => ({ dek: randomBytes(32), aad: aadFrom }))
    const wraps = await provider.wrap(1, deks)
    items.push(...wraps.map(({ iv, wrapped }) => ({ iv, wrapped, aadFrom, aadTo })))
  }
  return items
}
