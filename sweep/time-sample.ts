import type { TimedSample } from '../contracts/rotation-plan.ts'
import type { CheckMode, CollectionConfig } from '../contracts/settings.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { layoutIn, readWrap, wrapAad, type Layout } from '../envelope/layout.ts'
import type { KekProvider, RewrapItem } from '../providers/provider.ts'
import { readPage, type PageEntry } from '../store/envelope-pages.ts'
import type { Store } from '../store/store.ts'

export interface TimeSampleOptions {
  store: Store
  /** Has both versions loaded. */
  provider: KekProvider
  install: string
  collections: readonly CollectionConfig[]
  /** The field to sample. */
  place: { collection: string; field: string }
  from: number
  to: number
  check: CheckMode
  /** Maximum envelopes in the sample; they cost crypt calls on the token. */
  size: number
}

/**
 * Reads one page, re-wraps it with the real token and discards the wraps: nothing is written. A few envelopes go first to
 * open the first sessions; they are not timed.
 */
export async function timeSample(options: TimeSampleOptions): Promise<TimedSample> {
  const { store, provider, collections, place, from, to, check, size } = options
  const layout = layoutIn(collections, place.collection, place.field)
  const began = performance.now()
  const { entries } = await readPage(store, {
    collection: place.collection,
    layout,
    version: from,
    after: null,
    until: null,
    limit: size,
  })
  const items = entries.flatMap((entry) => itemOf(options, layout, entry))
  const read = performance.now()
  if (items.length === 0) return { envelopes: 0, readSeconds: 0, tokenSeconds: 0, hsmCalls: 0 }
  const warming = await provider.rewrap({ from, to, check, items: items.slice(0, warmUp) })
  const warm = performance.now()
  const { calls } = await provider.rewrap({ from, to, check, items })
  return {
    envelopes: items.length,
    readSeconds: (read - began) / 1_000,
    tokenSeconds: (performance.now() - warm) / 1_000,
    hsmCalls: warming.calls + calls,
  }
}

/** Envelopes that open the first sessions before the clock runs. */
const warmUp = 16

/** Empty for an envelope that would go into quarantine: it costs no crypt call. */
function itemOf(
  { provider, install, place, from, to }: TimeSampleOptions,
  layout: Layout,
  { idBytes, wrap }: PageEntry,
): RewrapItem[] {
  const where = { install, collection: place.collection, id: idBytes }
  try {
    const { dekIv: iv, dekWrapped: wrapped } = readWrap(layout, wrap, provider.name)
    const aad = (version: number) => wrapAad(layout, where, version)
    return [{ iv, wrapped, aadFrom: aad(from), aadTo: aad(to) }]
  } catch (error) {
    if (error instanceof KeyturnError) return []
    throw error
  }
}
