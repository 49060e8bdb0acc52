import { KeyturnError } from '../contracts/errors.ts'
import type { RewrapShardInput, SweepEnd } from '../contracts/rotation.ts'
import { sweepShard } from '../sweep/sweep-shard.ts'
import type { ActivityDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'

/** A batch is many pages, bounded in time: long enough that starting it costs nothing, short enough to move to another worker. */
const batchMs = 30_000

export function rewrapActivities(deps: ActivityDeps) {
  const { config, store, provider, member, log } = deps
  return {
    /** Sweeps one shard from its cursor until its end, the batch's time, a cancel, or a later attempt's takeover. */
    rewrapRange: async (input: RewrapShardInput): Promise<SweepEnd> =>
      await heartbeating(async (signal) => {
        await requireVersions([input.from, input.to])
        const { end } = await sweepShard({
          ...input,
          install: config.install,
          ratePerSecond: input.steering.rate,
          deadline: performance.now() + batchMs,
          lease: member,
          onPage: () => undefined,
          store,
          provider,
          signal,
          log,
        })
        return end
      }),
  }

  /** A worker whose token lacks a version leaves the work to others; a version that is only new is loaded now. */
  async function requireVersions(versions: readonly number[]): Promise<void> {
    const lacking = () => versions.filter((version) => !provider.loaded().includes(version))
    if (lacking().length > 0) await member.beat()
    const [first] = lacking()
    if (first === undefined) return
    throw new KeyturnError('kek-not-loaded', `version ${first} is not loaded on ${deps.node}`, {
      hint: `keyturn verify --target ${first} says why`,
    })
  }
}
