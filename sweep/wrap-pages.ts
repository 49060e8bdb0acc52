import { storedWrapped, wrapAad } from '../envelope/layout.ts'
import type { WrapFields } from '../envelope/envelope.ts'
import type { RewrapAnswer, RewrapItem } from '../providers/provider.ts'
import type { PageEntry } from '../store/envelope-pages.ts'
import type { Fault, JudgedEntry, JudgedPage } from './judge.ts'
import type { Road } from './road.ts'

export interface NewWrap {
  entry: PageEntry
  /** As it is stored. */
  oldWrapped: Buffer | string
  dekIv: Buffer
  dekWrapped: Buffer
}

export interface FaultyEntry {
  entry: PageEntry
  fault: Fault
}

/** A page whose wraps are made and checked, ready to be written. */
export interface WrappedPage {
  wraps: NewWrap[]
  faulty: FaultyEntry[]
  hsmCalls: number
  /** Milliseconds that the token took. */
  tokenMs: number
  read: JudgedPage['read']
  oldCursor: JudgedPage['oldCursor']
  cursor: JudgedPage['cursor']
  last: boolean
}

interface Wrappable {
  entry: PageEntry
  wrap: WrapFields
}

/**
 * Stage 2: the token's work. Only here DEKs are opened, inside the provider. Rejects when the token is at fault, since
 * then nothing may be said about the data; the pages before were yielded already and are written.
 */
export async function* wrapPages(
  road: Road,
  pages: AsyncGenerator<JudgedPage, void>,
): AsyncGenerator<WrappedPage, void> {
  for await (const whole of pages) {
    if (road.options.signal.aborted) {
      road.stop ??= 'aborted'
      return
    }
    const page = await withinBudget(road, whole)
    if (page !== null) yield await wrapPage(road, page)
    if (page !== whole) {
      road.stop ??= 'hsm-budget'
      return
    }
  }
}

/** The page as far as the rotation's budget of crypt calls reaches; null when that is not one envelope. */
async function withinBudget(road: Road, page: JudgedPage): Promise<JudgedPage | null> {
  const wanted = page.entries.filter(isWrappable).length
  const admitted = await road.budget.admit(wanted)
  if (admitted === wanted) return page
  const first = page.entries.filter(isWrappable)[admitted]
  const entries = page.entries.slice(
    0,
    page.entries.findIndex(({ entry }) => entry === first?.entry),
  )
  const cursor = entries.at(-1)?.entry.cursor
  return cursor === undefined ? null : { ...page, entries, cursor, last: false }
}

async function wrapPage(road: Road, page: JudgedPage): Promise<WrappedPage> {
  const { read, oldCursor, cursor, last } = page
  const wrappable = page.entries.filter(isWrappable)
  const faulty = page.entries.filter(isFaulty)
  const began = performance.now()
  const { outcomes, calls } = await rewrap(road, wrappable)
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
  road.options.lease.countWraps(road.options.to, wraps.length)
  return { wraps, faulty, hsmCalls: calls, tokenMs, read, oldCursor, cursor, last }
}

async function rewrap(road: Road, wrappable: Wrappable[]): Promise<RewrapAnswer> {
  if (wrappable.length === 0) return { outcomes: [], calls: 0 }
  const { lease, provider, from, to, check } = road.options
  const items = wrappable.map((item) => rewrapItem(road, item))
  await lease.requireLease(to)
  const answer = await provider.rewrap({ from, to, check, items }, road.abandon.signal)
  road.budget.spent(answer.calls)
  // A page opens what it wraps, by the very key that wrapped it: only the canary tells whose key that is. One that took
  // longer than a lease is proven for once more before it is written.
  await lease.requireLease(to)
  return answer
}

function rewrapItem(road: Road, { entry, wrap }: Wrappable): RewrapItem {
  const { install, from, to } = road.options
  const place = { install, collection: road.collection, id: entry.idBytes }
  const aad = (version: number) => wrapAad(road.layout, place, version)
  return { iv: wrap.dekIv, wrapped: wrap.dekWrapped, aadFrom: aad(from), aadTo: aad(to) }
}

function isWrappable(judged: JudgedEntry): judged is JudgedEntry & Wrappable {
  return 'wrap' in judged
}

function isFaulty(judged: JudgedEntry): judged is JudgedEntry & FaultyEntry {
  return 'fault' in judged
}
