import pTimeout from 'p-timeout'
import { storedWrapped, wrapAad } from '../envelope/layout.ts'
import type { WrapFields } from '../envelope/envelope.ts'
import type { RewrapAnswer, RewrapItem } from '../providers/provider.ts'
import type { PageEntry } from '../store/envelope-pages.ts'
import type { Fault, ClassifiedEntry, ClassifiedPage } from './classify-page.ts'
import type { RewrapContext } from './rewrap-context.ts'

export interface NewWrap {
  entry: PageEntry
  /** In the form in which it is stored. */
  oldWrapped: Buffer | string
  dekIv: Buffer
  dekWrapped: Buffer
}

export interface FaultyEntry {
  entry: PageEntry
  fault: Fault
}

/** A page with its new wraps, checked and ready to be written. */
export interface WrappedPage {
  wraps: NewWrap[]
  faulty: FaultyEntry[]
  hsmCalls: number
  /** Milliseconds of token work. */
  tokenMs: number
  read: ClassifiedPage['read']
  oldCursor: ClassifiedPage['oldCursor']
  cursor: ClassifiedPage['cursor']
  last: boolean
}

interface Wrappable {
  entry: PageEntry
  wrap: WrapFields
}

/**
 * Stage 2: re-wraps pages on the token. Only this stage opens DEKs, inside the provider. Rejects when the token is at fault,
 * which is no fault of the data. Earlier pages are already yielded and are written.
 */
export async function* wrapPages(
  context: RewrapContext,
  pages: AsyncGenerator<ClassifiedPage, void>,
): AsyncGenerator<WrappedPage, void> {
  for await (const whole of pages) {
    if (context.options.signal.aborted) {
      context.stop ??= 'aborted'
      return
    }
    const page = await withinBudget(context, whole)
    if (page !== null) yield await wrapPage(context, page)
    if (page !== whole) {
      context.stop ??= 'hsm-budget'
      return
    }
  }
}

/** The page, cut to the rotation's budget of crypt calls; null when the budget does not cover one envelope. */
async function withinBudget(
  context: RewrapContext,
  page: ClassifiedPage,
): Promise<ClassifiedPage | null> {
  const wanted = page.entries.filter(isWrappable).length
  const admitted = await context.budget.admit(wanted)
  if (admitted === wanted) return page
  const first = page.entries.filter(isWrappable)[admitted]
  const entries = page.entries.slice(
    0,
    page.entries.findIndex(({ entry }) => entry === first?.entry),
  )
  const cursor = entries.at(-1)?.entry.cursor
  return cursor === undefined ? null : { ...page, entries, cursor, last: false }
}

async function wrapPage(context: RewrapContext, page: ClassifiedPage): Promise<WrappedPage> {
  const { read, oldCursor, cursor, last } = page
  const wrappable = page.entries.filter(isWrappable)
  const faulty = page.entries.filter(isFaulty)
  const began = performance.now()
  const { outcomes, calls } = await rewrap(context, wrappable)
  const tokenMs = performance.now() - began
  const wraps: NewWrap[] = []
  for (const [index, { entry }] of wrappable.entries()) {
    const outcome = outcomes[index]
    if (outcome === undefined) throw new Error('the provider answered fewer outcomes than items')
    if (outcome.ok) {
      const { iv: dekIv, wrapped: dekWrapped } = outcome
      wraps.push({ entry, oldWrapped: storedWrapped(entry.wrap), dekIv, dekWrapped })
    } else {
      faulty.push({ entry, fault: { code: outcome.code, message: outcome.message } })
    }
  }
  context.options.lease.countWraps(context.options.to, wraps.length)
  return { wraps, faulty, hsmCalls: calls, tokenMs, read, oldCursor, cursor, last }
}

async function rewrap(context: RewrapContext, wrappable: Wrappable[]): Promise<RewrapAnswer> {
  if (wrappable.length === 0) return { outcomes: [], calls: 0 }
  const { provider, from, to, check } = context.options
  const items = wrappable.map((item) => rewrapItem(context, item))
  await requireLease(context)
  const answer = await provider.rewrap({ from, to, check, items }, context.abandon.signal)
  context.budget.spent(answer.calls)
  // The check of a page opens each wrap with the same key that made it, so only the canary shows that it is the right key.
  // If the page took longer than a lease, the key is proven again before the page is written.
  await requireLease(context)
  return answer
}

/** It proves the key if the last proof is old, and a token that hangs does not answer: the page is given up then, too. */
async function requireLease({ options, abandon }: RewrapContext): Promise<void> {
  const { signal } = abandon
  await pTimeout(options.lease.requireLease(options.to), { milliseconds: Infinity, signal })
}

function rewrapItem(context: RewrapContext, { entry, wrap }: Wrappable): RewrapItem {
  const { install, from, to } = context.options
  const place = { install, collection: context.collection, id: entry.idBytes }
  const aad = (version: number) => wrapAad(context.layout, place, version)
  return { iv: wrap.dekIv, wrapped: wrap.dekWrapped, aadFrom: aad(from), aadTo: aad(to) }
}

function isWrappable(classified: ClassifiedEntry): classified is ClassifiedEntry & Wrappable {
  return 'wrap' in classified
}

function isFaulty(classified: ClassifiedEntry): classified is ClassifiedEntry & FaultyEntry {
  return 'fault' in classified
}
