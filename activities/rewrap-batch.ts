import pTimeout from 'p-timeout'
import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import { noCounters } from '../contracts/rotation.ts'
import type { Counters } from '../contracts/rotation.ts'
import type { HsmAway, RewrapRangeInput, SweepEnd } from '../contracts/rewrap.ts'
import type { Metrics } from '../observability/metrics.ts'
import { isLong, type Awaited } from '../observability/awaiting.ts'
import { requireCollections } from '../store/collections.ts'
import { readSettings } from '../store/kek-settings.ts'
import type { RangeId } from '../store/documents.ts'
import { readRange } from '../store/rewrap-ranges.ts'
import type { Store } from '../store/store.ts'
import { rewrapPages } from '../sweep/rewrap-pages.ts'
import type { SweepOptions } from '../sweep/sweep-options.ts'
import type { ActivityDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { requirePromoted, rotationOf } from './own-rotation.ts'

/** Time limit of a batch: long enough that its start costs little, short enough to move on to another worker. */
const batchMs = 30_000
const trialMs = 2_000

export function rewrapActivities(deps: ActivityDeps) {
  const { config, store, provider, member, metrics, log } = deps
  const lease = {
    requireLease: async (version: number) => await member.requireLease(version),
    assertLease: () => member.assertLease(),
    countWraps: (version: number, wraps: number) => {
      member.countWraps(version, wraps)
      metrics.countWraps(version, wraps)
    },
  }
  return {
    /** Sweeps one range from its cursor until its end, the time limit, a cancel, or a later attempt. */
    rewrapBatch: async (input: RewrapRangeInput): Promise<SweepEnd | HsmAway> =>
      await heartbeating(
        (signal) => orHsmAway(deps, input, () => orLost(store, () => sweep(input, signal))),
        () => hsmAwaited(deps),
      ),
  }

  /** The rows of the rotation and of the range say what is swept, and how. */
  async function sweep(
    { rotation, range, steering, trial }: RewrapRangeInput,
    signal: AbortSignal,
  ): Promise<SweepEnd> {
    const ended = (await rotationOf(store, rotation))?.ended_at ?? null
    // A late attempt: the rotation's ranges are closed.
    if (ended !== null) return 'end'
    const { from, to, way, max_hsm_calls: maxHsmCalls } = await requirePromoted(store, rotation)
    if (typeof range !== 'string') throw new KeyturnError('usage', 'the range has no name')
    const { page, check, priority } = way
    // Nothing is in flight yet that could be lost.
    const loading = requireVersions(deps, [from, to], { rotation, range })
    await pTimeout(loading, { milliseconds: Infinity, signal })
    // A collection that was recreated with all its indexes would be swept without an error, so check before each batch.
    await requireRecorded(store)
    const { end } = await rewrapPages({
      rotation,
      range,
      from,
      to,
      page,
      check,
      priority,
      maxHsmCalls,
      tail: !range.startsWith('0-'),
      install: config.install,
      ratePerSecond: Number.isFinite(steering.rate) ? Math.max(0, steering.rate) : 0,
      deadline: performance.now() + (trial === true ? trialMs : batchMs),
      lease,
      onPage: countingPages(metrics),
      store,
      provider,
      signal,
      log,
    })
    return end
  }
}

/** An HSM that is away is a result, not a failure: the rotation waits for it and shows that. */
async function orHsmAway<T>(
  { provider, log }: ActivityDeps,
  { range }: RewrapRangeInput,
  sweeping: () => Promise<T>,
): Promise<T | HsmAway> {
  try {
    return await sweeping()
  } catch (error) {
    if (!isAway(error)) throw error
    const { code, message: why, hint } = error
    const since = provider.stats().trouble?.since
    log.warn({ code, hint, range, since }, `the rotation waits for the HSM: ${why}`)
    return { end: 'hsm-away', why }
  }
}

/**
 * After a failure that is not the HSM's, checks that the collections are unchanged, and throws that final error if not.
 * MongoDB's own errors about a view or a missing index would be retried without end.
 */
async function orLost<T>(store: Store, sweeping: () => Promise<T>): Promise<T> {
  try {
    return await sweeping()
  } catch (error) {
    if (!isAway(error)) await requireRecorded(store)
    throw error
  }
}

async function requireRecorded(store: Store): Promise<void> {
  await requireCollections(store, (await readSettings(store))?.settings.collections ?? [])
}

/** The token's trouble, once it lasts longer than opening a new session takes. */
function hsmAwaited({ provider }: ActivityDeps): Awaited | null {
  const { trouble } = provider.stats()
  if (trouble === null) return null
  const awaited = { what: `the HSM: ${trouble.message}`, since: trouble.since }
  return isLong(awaited) ? awaited : null
}

/** Loads a new version now; if the token lacks it, throws so that another worker takes the work. */
async function requireVersions(
  { store, provider, member, node }: ActivityDeps,
  versions: readonly number[],
  id: RangeId,
): Promise<void> {
  const lacking = () => versions.filter((version) => !provider.loaded().includes(version))
  if (lacking().length > 0) await member.beat()
  const [first] = lacking()
  if (first === undefined) return
  const swept = await readRange(store, id)
  await member.requireVersion(first, swept === null ? [] : [swept]).catch((error: unknown) => {
    if (!(error instanceof KeyturnError)) throw error
    // Nothing has failed yet: the proof still waits for the token.
    const isPending = (error.cause ?? null) === null
    if (isPending) throw new KeyturnError('hsm-away', error.message)
    if (isAway(error.cause)) throw error.cause
  })
  if (lacking().length === 0) return
  throw new KeyturnError('kek-not-loaded', `version ${first} is not loaded on ${node}`, {
    hint: `keyturn verify --target ${first} says why`,
  })
}

/** `hsm-failed` too: a client library that is dead until it is loaded again fails each call, with any code. */
const awayCodes: ReadonlySet<ErrorCode> = new Set(['hsm-away', 'hsm-busy', 'hsm-failed'])

function isAway(error: unknown): error is KeyturnError {
  return error instanceof KeyturnError && awayCodes.has(error.code)
}

/** Pages report the sums of their attempt; the metrics need what each page added. */
function countingPages(metrics: Metrics): SweepOptions['onPage'] {
  let counted: Counters = noCounters
  return ({ counters }) => {
    metrics.countSweep({
      rewrapped: counters.rewrapped - counted.rewrapped,
      superseded: counters.superseded - counted.superseded,
      quarantined: counters.quarantined - counted.quarantined,
    })
    counted = counters
  }
}
