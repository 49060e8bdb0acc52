import { noCounters } from '../contracts/rotation.ts'
import type { CheckMode } from '../contracts/settings.ts'
import { layoutIn } from '../envelope/layout.ts'
import { readSettings } from '../store/kek-settings.ts'
import { reserveHsmCalls } from '../store/rotation-progress.ts'
import { takeRange, type TakenRange } from '../store/range-takeover.ts'
import { endSession } from '../store/sessions.ts'
import { hsmBudget } from './hsm-budget.ts'
import { hasQuarantine } from '../store/known-quarantine.ts'
import { paceAt } from './pace.ts'
import { runPipeline } from './pipeline.ts'
import type { RewrapContext } from './rewrap-context.ts'
import { pageSizing } from './page-sizing.ts'
import type { SweepOptions, SweepResult } from './sweep-options.ts'

/** Maximum crypt calls for one envelope. `sampled` reserves as many as `all`, and keeps the rest for the next page. */
const callsEach: Record<CheckMode, number> = { all: 3, sampled: 3, none: 2 }

/**
 * One attempt on one range: takes the range over (after which no earlier attempt can write), continues from its cursor, and
 * ends its session. For a closed range it returns `end`. Rejects when the token or MongoDB fails: pages written before that
 * stay written and counted, and the next attempt continues there.
 */
export async function rewrapPages(options: SweepOptions): Promise<SweepResult> {
  const { store, rotation, range, signal } = options
  if (signal.aborted) return { end: 'aborted', counters: noCounters }
  const taken = await takeRange(store, { rotation, range }, signal)
  if (taken === null) return { end: 'end', counters: noCounters }
  try {
    return await runPipeline(await contextOf(options, taken))
  } finally {
    await endSession(taken.session)
  }
}

async function contextOf(options: SweepOptions, taken: TakenRange): Promise<RewrapContext> {
  const { store, rotation, maxHsmCalls, check, ratePerSecond, signal } = options
  const { attempt, cursor, session, doc } = taken
  const { collection, field, min, max } = doc
  const collections = (await readSettings(store))?.settings.collections ?? []
  const reserve = (calls: number) => reserveHsmCalls(store, rotation, calls)
  return {
    options,
    collection,
    field,
    layout: layoutIn(collections, collection, field),
    min,
    max,
    cursor,
    attempt,
    session,
    budget: hsmBudget(maxHsmCalls, callsEach[check], reserve),
    pageSizing: pageSizing(options.page, options.priority ?? 'rotation'),
    pace: paceAt(ratePerSecond, signal),
    hasQuarantine: await hasQuarantine(store, { rotation, collection, field }),
    abandon: new AbortController(),
    stop: null,
  }
}
