import type { ProviderName } from '../contracts/kek.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import type { WrapFields } from '../envelope/envelope.ts'
import { readWrap, wrapAad, type Layout } from '../envelope/layout.ts'
import type { Bound } from '../store/documents.ts'
import type { PageEntry } from '../store/envelope-pages.ts'
import { withoutQuarantined } from '../store/known-quarantine.ts'
import type { RewrapContext } from './rewrap-context.ts'

/** Why an envelope goes into quarantine. */
export interface Fault {
  code: ErrorCode
  message: string
}

/** An envelope as it was read, with what to do: re-wrap it (`wrap`) or quarantine it (`fault`). */
export type ClassifiedEntry = { entry: PageEntry } & ({ wrap: WrapFields } | { fault: Fault })

/** A page that moves the range's cursor from `oldCursor` to `cursor`. The last page may be empty. */
export interface ClassifiedPage {
  /** Envelopes that were read, including those in quarantine. */
  read: number
  entries: ClassifiedEntry[]
  oldCursor: Bound | null
  cursor: Bound | null
  last: boolean
}

/** The driver cannot give this `_id` back as it is stored, so no update can find the record. */
const unsupportedId: Fault = {
  code: 'id-unsupported',
  message: 'the record has an _id of a type that cannot be used in a filter',
}

const noPlace = { install: '', collection: '' }

/**
 * Drops the envelopes that this rotation has quarantined with exactly these bytes, and checks the shape of the rest. Odd
 * envelopes are dropped too: store/odd-quarantine.ts quarantines all of them before each pass.
 */
export async function classifyPage(
  context: RewrapContext,
  entries: PageEntry[],
): Promise<ClassifiedEntry[]> {
  const { store, rotation, provider } = context.options
  const { collection, field } = context
  const placed = entries.filter(({ isOdd }) => !isOdd)
  const fresh = context.hasQuarantine
    ? await withoutQuarantined(store, { rotation, collection, field }, placed)
    : placed
  return fresh.map((entry) => classify(entry, context.layout, provider.name))
}

function classify(entry: PageEntry, layout: Layout, provider: ProviderName): ClassifiedEntry {
  if (entry.cursor.v !== entry.id) return { entry, fault: unsupportedId }
  try {
    const wrap = readWrap(layout, entry.wrap, provider)
    // A layout's AAD may need the _id in a form that this _id does not have.
    if (layout.declared !== null) wrapAad(layout, { ...noPlace, id: entry.idBytes }, 1)
    if (wrap.provider === provider) return { entry, wrap }
    const message = `the envelope names the provider "${wrap.provider}", not "${provider}"`
    return { entry, fault: { code: 'wrong-provider', message } }
  } catch (error) {
    if (!(error instanceof KeyturnError)) throw error
    return { entry, fault: { code: error.code, message: error.message } }
  }
}
