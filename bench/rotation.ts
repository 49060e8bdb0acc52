import type { ProviderName } from '../contracts/kek.ts'
import { bareLoop } from './bare-loop.ts'
import { figure, ratioOf, type BenchFigures, type Timed } from './figures.ts'
import { fillRecords } from './fill-records.ts'
import { withFixture, type Fixture } from './fixture.ts'
import { timed } from './machine.ts'
import { sizeOf, type BenchOptions } from './options.ts'
import { peer } from './peer.ts'
import { tokenFigure, tokenRuns } from './token.ts'

/** The bar is for 200,000. */
const ownSize = { usual: 100_000, full: 200_000 }
/** The bar of rotation ÷ bare loop. */
const bar = { atLeast: 0.9 }
/** Ranges in parallel in the bare loop; the fastest on two cores. */
const bareRanges = 3
/** The bulk peer gets so many times more records than the single one. */
const bulkFactor = 4

/**
 * The whole rotation through Temporal beside the bare loop and the peer, on the same records in the same run, one after
 * the other in rounds: rotation 1 → 2, bare loop 2 → 1, peers 1 → 2 on a part, which is then brought back.
 */
export async function run(options: BenchOptions): Promise<BenchFigures> {
  const all: BenchFigures = { figures: [], ratios: [] }
  for (const provider of options.providers) {
    options.print(`rotation with ${provider}: ${sizeOf(options, ownSize)} records`)
    const { figures, ratios } = await withFixture({ provider, options }, (fixture) =>
      rounds(fixture, provider, options),
    )
    all.figures.push(...figures)
    all.ratios.push(...ratios)
  }
  return all
}

interface Runs {
  rotation: Timed[]
  whole: Timed[]
  bare: Timed[]
  one: Timed[]
  bulk: Timed[]
}

async function rounds(
  fixture: Fixture,
  name: ProviderName,
  options: BenchOptions,
): Promise<BenchFigures> {
  const { print } = options
  await fillRecords(fixture.store, fixture.provider, sizeOf(options, ownSize))
  const token = await tokenRuns(fixture.provider, options)
  const runs: Runs = { rotation: [], whole: [], bare: [], one: [], bulk: [] }
  await warmUp(fixture, options)
  for (let pair = 1; pair <= options.pairs; pair++) {
    await round(fixture, options, runs)
    const [rotation, bare] = [runs.rotation.at(-1), runs.bare.at(-1)]
    print(`  pair ${pair}: rotation ${whole(rotation)}/s, bare loop ${whole(bare)}/s`)
  }
  return summary(name, options, token, runs)
}

/** Runs both sides once on the real records, so that the first pair has compiled code and a warm cache. */
async function warmUp(fixture: Fixture, options: BenchOptions): Promise<void> {
  await fixture.rotate(1, 2)
  await bareLoop({ ...fixture, ...options, shards: bareRanges, from: 2, to: 1 })
}

async function round(fixture: Fixture, options: BenchOptions, runs: Runs): Promise<void> {
  const { page, check } = options
  const bare = { ...fixture, page, check, shards: bareRanges }
  const rotated = await fixture.rotate(1, 2)
  const { idle } = rotated
  runs.rotation.push({ perSecond: rotated.perSecond, idle })
  runs.whole.push({ perSecond: rotated.rewrapped / rotated.wholeSeconds, idle })
  runs.bare.push(await timed(() => bareLoop({ ...bare, from: 2, to: 1 })))
  const one = { from: 1, to: 2, page, envelopes: options.peerEnvelopes }
  runs.one.push(await timed(() => peer(fixture, 'one', one)))
  const envelopes = Math.min(sizeOf(options, ownSize) - one.envelopes, one.envelopes * bulkFactor)
  runs.bulk.push(await timed(() => peer(fixture, 'bulk', { ...one, envelopes })))
  await bareLoop({ ...bare, from: 2, to: 1 })
}

function summary(
  name: ProviderName,
  options: BenchOptions,
  token: Timed[],
  runs: Runs,
): BenchFigures {
  const unit = 'envelopes/s'
  const title = (what: string) => `${what}, ${name}`
  return {
    figures: [
      tokenFigure(name, token, options),
      figure(title('bare loop'), unit, runs.bare, `${bareRanges} ranges, page ${options.page}`),
      figure(title('rotation'), unit, runs.rotation, 'phase rewrap, through Temporal'),
      figure(
        title('rotation with all phases'),
        unit,
        runs.whole,
        'settle waits for a lease of 3 s',
      ),
      figure(title('peer in bulk'), unit, runs.bulk, 'unchecked, not fenced, no crash safety'),
      figure(title('peer one by one'), unit, runs.one, 'unchecked, not fenced, no crash safety'),
    ],
    ratios: [
      ratioOf(title('rotation ÷ bare loop'), runs.rotation, runs.bare, bar),
      ratioOf(title('rotation ÷ peer in bulk'), runs.rotation, runs.bulk),
      ratioOf(title('rotation ÷ peer one by one'), runs.rotation, runs.one),
    ],
  }
}

function whole(run: Timed | undefined): string {
  return Math.round(run?.perSecond ?? 0).toString()
}
