import { randomBytes } from 'node:crypto'
import { Binary, Int32, type Document } from 'mongodb'
import type { Store } from '../store/store.ts'
import { write } from './bare-loop.ts'
import { figure, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords, place, recordId } from './fill-records.ts'
import { withFixture } from './fixture.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'

const pagesInParallel = 3
const ownSize = { usual: 100_000, full: 100_000 }

/** The raw writes: pages of updates in transactions; everything else is prepared before the measurement. */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  return withFixture({ provider: 'env', options: { ...options, workers: 1 } }, async (fixture) => {
    await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
    return { figures: [writesFigure(await writesRuns(fixture.store, options))], ratios: [] }
  })
}

export function writesFigure(runs: Timed[]) {
  return figure('raw writes', 'envelopes/s', runs, `${pagesInParallel} pages in parallel`)
}

/** Leaves wraps that do not open under any key. */
export async function writesRuns(store: Store, options: BenchOptions): Promise<Timed[]> {
  const runs: Timed[] = []
  let old: Binary | null = null
  for (let run = 0; run < options.pairs; run++) {
    const wrapped = new Binary(randomBytes(48))
    const pages = pagesOf(options, old, wrapped, run)
    runs.push(await timed(() => writeAll(store, pages)))
    old = wrapped
  }
  return runs
}

type Page = { updateOne: { filter: Document; update: Document } }[]

function pagesOf(options: BenchOptions, old: Binary | null, wrapped: Binary, run: number): Page[] {
  const version = `${place.field}.kek_version`
  const set = {
    [version]: new Int32(run % 2 === 0 ? 2 : 1),
    [`${place.field}.dek_iv`]: new Binary(randomBytes(12)),
    [`${place.field}.dek_wrapped`]: wrapped,
    [`${place.field}.provider`]: 'env',
  }
  const envelopes = sizeOf(options, ownSize)
  const { page } = options
  const pages: Page[] = []
  for (let at = 0; at < envelopes; at += page) {
    const size = Math.min(page, envelopes - at)
    pages.push(
      Array.from({ length: size }, (_, index) => {
        const filter: Document = { _id: recordId(at + index), [version]: (run % 2) + 1 }
        if (old !== null) filter[`${place.field}.dek_wrapped`] = old
        return { updateOne: { filter, update: { $set: set } } }
      }),
    )
  }
  return pages
}

async function writeAll(store: Store, pages: readonly Page[]): Promise<number> {
  let next = 0
  let written = 0
  const line = async (_: unknown, range: number) => {
    for (let page = pages[next++]; page !== undefined; page = pages[next++]) {
      await write(store, range, String(written), page)
      written += page.length
    }
  }
  await Promise.all(Array.from({ length: pagesInParallel }, line))
  return written
}
