import type { ClientSession } from 'mongodb'
import { setTimeout as pause } from 'node:timers/promises'
import { wrapDigest } from '../envelope/wrap-digest.ts'
import { culpritsOf, mayPass } from './page-culprits.ts'
import { WriteRefused, writeStep, type TryOutcome } from './page-statements.ts'
import type { PageCounts, PageQuarantine, PageStep, PageUpdate } from './page-step.ts'
import { rawAt } from './raw-bson.ts'
import { isCommitUncertain, isTransactionPassing } from './server-errors.ts'
import type { Store } from './store.ts'
import { wrapAt, wrapProjection } from './wrap-fields.ts'
import { hasWrap, idEquals } from './wrap-filter.ts'

/**
 * Writes a page in one transaction: the range document's new cursor, the new wraps, quarantine rows and counters.
 *
 * Its first statement is the attempt filter: attempt and old cursor in the range document. Every try begins with it, so a
 * worker that was frozen at any point notices that it was replaced. If the filter does not match because the cursor is
 * already the new one, an earlier try was committed and only its answer was lost. After a conflict the same wraps are
 * retried with growing pauses, then in halves, each with its own cursor. Envelopes that MongoDB refuses to store go to
 * quarantine, and so does a document that makes the page fail repeatedly with the same error (page-culprits.ts).
 */

/**
 * `committed`: exact counts, of what this call wrote; `write-refused` rows are among the quarantined. `replaced`: the
 * range belongs to another attempt or is closed; nothing of this page, or of its second half, was written.
 */
export type PageResult = ({ kind: 'committed' } & PageCounts) | { kind: 'replaced' }

/** Tries of a page before it is halved, and of a part of one. */
const tries = { page: 6, part: 3 }
/** Tries that took longer in all are not repeated with the whole page: applications would meet it each time. In milliseconds. */
const longTriesMs = 3_000
/** Pause after the first conflict, doubled with each, in milliseconds. */
const firstPauseMs = 10
const longestPauseMs = 500
/** After this time a single conflicting envelope, or a commit without an answer, fails with the last error. */
const giveUpMs = 60_000

/** Throws `lease-expired` from `leaseCheck`, and the driver's error if MongoDB stays unreachable. */
export async function commitPage(
  store: Store,
  session: ClientSession,
  page: PageStep,
): Promise<PageResult> {
  return commitStep(store, session, page, tries.page)
}

async function commitStep(
  store: Store,
  session: ClientSession,
  step: PageStep,
  allowed: number,
): Promise<PageResult> {
  const began = performance.now()
  /** Counts of a try whose commit was not answered; they are the page's if it turns out to be committed. */
  const lost: LostAnswer = { counts: null }
  for (let tried = 1; ; tried += 1) {
    try {
      return resultOf(await tryOnce(store, session, step, lost), lost)
    } catch (error) {
      if (error instanceof WriteRefused) {
        return await commitRest(store, session, step, reasonsOf(error), allowed)
      }
      if (!isTransactionPassing(error)) {
        if (mayPass(error) || lost.counts !== null) throw error
        const culprits = await culpritsOf(store, session, step)
        if (culprits === null) throw error
        return await commitRest(store, session, step, culprits, allowed, error)
      }
      const tookMs = performance.now() - began
      if (step.updates.length > 1 && lost.counts === null) {
        if (tried >= allowed || tookMs > longTriesMs) {
          return await commitHalves(store, session, step)
        }
      } else if (tookMs > giveUpMs) throw error
      await pause(pauseMs(tried))
    }
  }
}

interface LostAnswer {
  counts: PageCounts | null
}

/** One try with its commit. The session never has an open transaction afterwards. */
async function tryOnce(
  store: Store,
  session: ClientSession,
  step: PageStep,
  lost: LostAnswer,
): Promise<TryOutcome> {
  try {
    const outcome = await writeStep(store, session, step)
    await commit(session, () => {
      if (outcome.kind === 'written') lost.counts = outcome.counts
    })
    return outcome
  } finally {
    if (session.inTransaction()) await session.abortTransaction().catch(ignore)
  }
}

/** Repeats a commit whose answer was lost. Calls `uncertain` if the commit may have succeeded. */
async function commit(session: ClientSession, uncertain: () => void): Promise<void> {
  const giveUpAt = performance.now() + giveUpMs
  for (;;) {
    try {
      await session.commitTransaction()
      return
    } catch (error) {
      if (!isCommitUncertain(error)) throw error
      uncertain()
      if (performance.now() > giveUpAt) throw error
      await pause(firstPauseMs)
    }
  }
}

function resultOf(outcome: TryOutcome, lost: LostAnswer): PageResult {
  if (outcome.kind === 'written') return { kind: 'committed', ...outcome.counts }
  if (!outcome.answered) return { kind: 'replaced' }
  return { kind: 'committed', ...(lost.counts ?? nothing) }
}

/** Quarantine rows go with the first half: they are counted once, and none is lost in a crash before the second. */
async function commitHalves(
  store: Store,
  session: ClientSession,
  step: PageStep,
): Promise<PageResult> {
  const middle = Math.ceil(step.updates.length / 2)
  const first = step.updates.slice(0, middle)
  const cursor = { v: first.at(-1)?.id }
  const one = await commitStep(
    store,
    session,
    { ...step, updates: first, newCursor: cursor, closes: false },
    tries.part,
  )
  if (one.kind === 'replaced') return one
  const two = await commitStep(
    store,
    session,
    {
      ...step,
      updates: step.updates.slice(middle),
      quarantine: [],
      counters: { hsmCalls: 0 },
      oldCursor: cursor,
    },
    tries.part,
  )
  return two.kind === 'replaced' ? two : { kind: 'committed', ...sumOf(one, two) }
}

function reasonsOf({ refused }: WriteRefused): ReadonlyMap<number, string> {
  return new Map(refused.map(({ index, code }) => [index, `with code ${code}`]))
}

/**
 * Puts refused updates, given by position, into quarantine and retries the rest. Throws `unlessFound` if none of the refused
 * envelopes exists unchanged any more.
 */
async function commitRest(
  store: Store,
  session: ClientSession,
  step: PageStep,
  reasons: ReadonlyMap<number, string>,
  allowed: number,
  unlessFound?: unknown,
): Promise<PageResult> {
  const rows: PageQuarantine[] = []
  const updates: PageUpdate[] = []
  for (const [index, update] of step.updates.entries()) {
    const reason = reasons.get(index)
    const row = reason === undefined ? null : await refusedRow(store, step, update, reason)
    if (row === null) updates.push(update)
    else rows.push(row)
  }
  if (rows.length === 0 && unlessFound !== undefined) {
    throw unlessFound instanceof Error
      ? unlessFound
      : new Error('the page failed', { cause: unlessFound })
  }
  const rest = { ...step, updates, quarantine: [...step.quarantine, ...rows] }
  return commitStep(store, session, rest, allowed)
}

/**
 * Null if the envelope has changed since it was refused: its update would match nothing. A filter also matches through an
 * array, where the update is refused each time.
 */
async function refusedRow(
  store: Store,
  step: PageStep,
  update: PageUpdate,
  reason: string,
): Promise<PageQuarantine | null> {
  const { layout } = step
  const found = await store.db
    .collection(step.collection)
    .findOne<Buffer>({ _id: idEquals(update.id) } as object, {
      projection: wrapProjection(layout),
      raw: true,
    })
  const wrapped = found === null ? null : rawAt(found, layout.wrapped)
  if (found === null) return null
  const isThere = wrapped !== null && isStored(wrapped.bytes, update.oldWrapped)
  const sought = { id: update.id, version: step.from, wrapped: update.oldWrapped }
  if (!isThere && !(await hasWrap(store, step, sought))) return null
  return {
    id: update.id,
    digest: wrapDigest(wrapAt(found, layout)),
    code: 'write-refused',
    message: `mongodb refused to store the new wrap ${reason}`,
  }
}

/** Before a binary's payload stand length and subtype, before a string's its length; behind it a zero. */
function isStored(bytes: Buffer, wrapped: Uint8Array | string): boolean {
  return typeof wrapped === 'string'
    ? bytes.toString('utf8', 4, bytes.length - 1) === wrapped
    : bytes.subarray(5).equals(wrapped)
}

/** Between half and the whole of the pause, so that two in conflict do not stay in step. */
function pauseMs(tried: number): number {
  const whole = Math.min(longestPauseMs, firstPauseMs * 2 ** (tried - 1))
  return whole * (0.5 + Math.random() / 2)
}

function sumOf(one: PageCounts, two: PageCounts): PageCounts {
  return {
    rewrapped: one.rewrapped + two.rewrapped,
    superseded: one.superseded + two.superseded,
    quarantined: one.quarantined + two.quarantined,
  }
}

const nothing: PageCounts = { rewrapped: 0, superseded: 0, quarantined: 0 }

function ignore(): void {
  // An abort that fails leaves the transaction to the server, which ends it by itself.
}
