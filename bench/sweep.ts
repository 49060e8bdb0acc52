import { createLog } from '../observability/log.ts'
import { insertRotation } from '../store/rotations.ts'
import { planRanges } from '../sweep/range-plan.ts'
import { rewrapPages } from '../sweep/rewrap-pages.ts'
import { bareLoop } from './bare-loop.ts'
import { figure, ratioOf, type BenchFigures, type Timed } from './figures.ts'
import { collections, fillRecords, install } from './fill-records.ts'
import { withFixture, type Fixture } from './fixture.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'

/** As many ranges as the bare loop has. */
const ranges = 3

/**
 * The product's sweep in this process, without Temporal, against the bare loop: what the fences cost. Easy to profile:
 * `node --cpu-prof dist/bench/main.js sweep --provider env`.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    await withFixture({ provider, options }, async (fixture) => {
      await fillRecords(
        fixture.store,
        fixture.provider,
        sizeOf(options, { usual: 100_000, full: 100_000 }),
      )
      const sweeps: Timed[] = []
      const bares: Timed[] = []
      for (let pair = 0; pair < options.pairs; pair++) {
        sweeps.push(await timed(() => sweepAll(fixture, options, `sweep-${pair}`)))
        bares.push(
          await timed(() => bareLoop({ ...fixture, ...options, shards: ranges, from: 2, to: 1 })),
        )
      }
      all.figures.push(
        figure(`sweep, ${provider}`, 'envelopes/s', sweeps, 'in one process, no Temporal'),
        figure(`bare loop, ${provider}`, 'envelopes/s', bares),
      )
      all.ratios.push(ratioOf(`sweep ÷ bare loop, ${provider}`, sweeps, bares))
    })
  }
  return all
}

async function sweepAll(
  fixture: Fixture,
  options: BenchOptions,
  rotation: string,
): Promise<number> {
  const { store, provider } = fixture
  const { page, check } = options
  const row = { rotation, from: 1, to: 2, requestedBy: 'bench', reason: '', maxHsmCalls: 0 }
  await insertRotation(store, {
    ...row,
    page,
    shards: ranges,
    check,
    workflowId: rotation,
    runId: null,
    worker: 'vm-a',
  })
  const planned = await planRanges(store, { rotation, collections, version: 1, ranges })
  const lease = {
    requireLease: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: () => undefined,
  }
  const results = await Promise.all(
    planned.map(({ range }) =>
      rewrapPages({
        store,
        provider,
        lease,
        install,
        rotation,
        range,
        from: 1,
        to: 2,
        page,
        check,
        ratePerSecond: 0,
        maxHsmCalls: 0,
        deadline: Infinity,
        tail: false,
        signal: new AbortController().signal,
        onPage: () => undefined,
        log: createLog({ level: 'warn', pretty: false }),
      }),
    ),
  )
  return results.reduce((sum, { counters }) => sum + counters.rewrapped, 0)
}
