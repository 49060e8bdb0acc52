import { createLog } from '../observability/log.ts'
import { insertRotation } from '../store/rotations.ts'
import { planShards } from '../sweep/shard-plan.ts'
import { sweepShard } from '../sweep/sweep-shard.ts'
import { bareLoop } from './bare-loop.ts'
import { figure, ratioOf, type BenchFigures, type Timed } from './figures.ts'
import { collections, fillRecords, install } from './fill-records.ts'
import { withLab, type Lab } from './lab.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'

/** As many as the bare loop has. */
const shards = 3

/**
 * The product's sweep in this very process, without Temporal, beside the bare loop: what the fences cost. Easy to
 * profile: `node --cpu-prof dist/bench/main.js sweep --provider env`.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    await withLab({ provider, options }, async (lab) => {
      await fillRecords(lab.store, lab.provider, sizeOf(options, { usual: 100_000, full: 100_000 }))
      const sweeps: Timed[] = []
      const bares: Timed[] = []
      for (let pair = 0; pair < options.pairs; pair++) {
        sweeps.push(await timed(() => sweepAll(lab, options, `sweep-${pair}`)))
        bares.push(await timed(() => bareLoop({ ...lab, ...options, shards, from: 2, to: 1 })))
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

async function sweepAll(lab: Lab, options: BenchOptions, rotation: string): Promise<number> {
  const { store, provider } = lab
  const { page, check } = options
  const row = { rotation, from: 1, to: 2, requestedBy: 'bench', reason: '', maxHsmCalls: 0 }
  await insertRotation(store, { ...row, page, shards, check, workflowId: rotation, runId: null })
  const planned = await planShards(store, { rotation, collections, version: 1, shards })
  const lease = {
    requireLease: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: () => undefined,
  }
  const results = await Promise.all(
    planned.map(({ shard }) =>
      sweepShard({
        ...{ store, provider, lease, install, rotation, shard, from: 1, to: 2, page, check },
        ...{ ratePerSecond: 0, maxHsmCalls: 0, deadline: Infinity, tail: false },
        signal: new AbortController().signal,
        onPage: () => undefined,
        log: createLog({ level: 'warn', pretty: false }),
      }),
    ),
  )
  return results.reduce((sum, { counters }) => sum + counters.rewrapped, 0)
}
