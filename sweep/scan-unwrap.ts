import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import type { CollectionConfig } from '../contracts/settings.ts'
import { layoutIn, readWrap, wrapAad, type Layout } from '../envelope/layout.ts'
import type { KekProvider, SealedDek } from '../providers/provider.ts'
import { countVersions } from '../store/census.ts'
import { readPage, type PageEntry } from '../store/envelope-pages.ts'
import type { Bound } from '../store/documents.ts'
import type { Store } from '../store/store.ts'
import { prefetch } from './prefetch.ts'

export interface ScanUnwrapOptions {
  store: Store
  provider: KekProvider
  install: string
  collections: readonly CollectionConfig[]
  /** Envelopes of a page; 1,000 unless given. */
  page?: number
  onProgress(progress: { opened: number; failed: number; total: number }): void
  signal: AbortSignal
}

/** An envelope that did not open. `id` as the driver reads it without promoting values. */
export interface FailedEnvelope {
  collection: string
  id: unknown
  field: string
  kekVersion: number
  code: ErrorCode
}

export interface ScanUnwrapResult {
  opened: number
  failed: FailedEnvelope[]
}

/** The envelopes of one version in one field. */
interface VersionOfField {
  collection: string
  field: string
  layout: Layout
  version: number
}

/** Pages that the token works on at once, so that lanes do not idle at the end of a page. */
const pagesAtOnce = 3

/** A page with the error code of each entry; undefined for an entry that opened. */
interface OpenedPage {
  entries: PageEntry[]
  codes: (ErrorCode | undefined)[]
}

/**
 * Unwraps the DEK of every envelope and discards it, for `scan --unwrap`. Writes nothing. The next page is read while the
 * token works on the last ones; results are in the order of reading. Rejects when the token is at fault or the signal is
 * aborted. If a version is not loaded, its envelopes fail with `kek-not-loaded`.
 */
export async function scanUnwrap(options: ScanUnwrapOptions): Promise<ScanUnwrapResult> {
  const { byField } = await countVersions(options.store, options.collections)
  const total = byField.reduce((sum, { envelopes }) => sum + envelopes, 0)
  const result: ScanUnwrapResult = { opened: 0, failed: [] }
  for (const each of byField) {
    const layout = layoutIn(options.collections, each.collection, each.field)
    const stretch = { ...each, layout }
    for await (const { entries, codes } of opened(options, stretch)) {
      for (const [index, entry] of entries.entries()) {
        const code = codes[index]
        if (code === undefined) result.opened++
        else result.failed.push(failedEnvelope(stretch, entry, code))
      }
      options.onProgress({ opened: result.opened, failed: result.failed.length, total })
    }
  }
  return result
}

async function* opened(
  options: ScanUnwrapOptions,
  stretch: VersionOfField,
): AsyncGenerator<OpenedPage, void> {
  const opening: Promise<OpenedPage>[] = []
  try {
    for await (const entries of prefetch(pagesOf(options, stretch))) {
      const page = openPage(options, stretch, entries).then((codes) => ({ entries, codes }))
      // Awaited in its turn; until then it must not count as unhandled.
      void page.catch(() => undefined)
      opening.push(page)
      if (opening.length === pagesAtOnce) yield await takeFirst(opening)
    }
    while (opening.length > 0) yield await takeFirst(opening)
  } finally {
    await Promise.allSettled(opening)
  }
}

async function takeFirst(opening: Promise<OpenedPage>[]): Promise<OpenedPage> {
  const [first] = opening
  if (first === undefined) throw new Error('no page is being opened')
  const page = await first
  void opening.shift()
  return page
}

async function* pagesOf(
  { store, page = 1_000, signal }: ScanUnwrapOptions,
  { collection, layout, version }: VersionOfField,
): AsyncGenerator<PageEntry[], void> {
  let after: Bound | null = null
  for (;;) {
    signal.throwIfAborted()
    const options = { collection, layout, version, after, until: null, limit: page, signal }
    const { entries, more }: Awaited<ReturnType<typeof readPage>> = await readPage(store, options)
    // Odd envelopes belong to no version.
    yield entries.filter(({ isOdd }) => !isOdd)
    if (!more) return
    after = entries.at(-1)?.cursor ?? after
  }
}

async function openPage(
  { provider, install, signal }: ScanUnwrapOptions,
  stretch: VersionOfField,
  entries: PageEntry[],
): Promise<(ErrorCode | undefined)[]> {
  const codes: (ErrorCode | undefined)[] = []
  const sealed: SealedDek[] = []
  const positions: number[] = []
  for (const [index, entry] of entries.entries()) {
    const dek = sealedDek(entry, install, stretch, provider)
    if (dek instanceof KeyturnError) {
      codes[index] = dek.code
    } else {
      sealed.push(dek)
      positions.push(index)
    }
  }
  const answers = await unwrapAll(provider, stretch.version, sealed, signal)
  for (const [at, answer] of answers.entries()) {
    if (answer instanceof KeyturnError) codes[positions[at] ?? -1] = answer.code
    else answer.fill(0)
  }
  return codes
}

function sealedDek(
  entry: PageEntry,
  install: string,
  { collection, layout, version }: VersionOfField,
  provider: KekProvider,
): SealedDek | KeyturnError {
  try {
    const { provider: named, dekIv, dekWrapped } = readWrap(layout, entry.wrap, provider.name)
    if (named !== provider.name) return new KeyturnError('wrong-provider', `provider "${named}"`)
    const aad = wrapAad(layout, { install, collection, id: entry.idBytes }, version)
    return { iv: dekIv, wrapped: dekWrapped, aad }
  } catch (error) {
    if (error instanceof KeyturnError) return error
    throw error
  }
}

async function unwrapAll(
  provider: KekProvider,
  version: number,
  sealed: SealedDek[],
  signal: AbortSignal,
): Promise<(Buffer | KeyturnError)[]> {
  if (sealed.length === 0) return []
  if (!provider.loaded().includes(version)) {
    const error = new KeyturnError('kek-not-loaded', `version "${version}" is not loaded here`)
    return sealed.map(() => error)
  }
  return await provider.unwrap(version, sealed, signal)
}

function failedEnvelope(
  stretch: VersionOfField,
  entry: PageEntry,
  code: ErrorCode,
): FailedEnvelope {
  const { collection, field, version } = stretch
  return { collection, id: entry.id, field, kekVersion: version, code }
}
