import type { ClientSession } from 'mongodb'
import type { SweepEnd } from '../contracts/rewrap.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from '../store/documents.ts'
import type { HsmBudget } from './hsm-budget.ts'
import type { PageSizing } from './page-sizing.ts'
import type { SweepOptions } from './sweep-options.ts'

/** What the stages of one attempt share: its range, and its signals to stop. */
export interface RewrapContext {
  readonly options: SweepOptions
  readonly collection: string
  readonly field: string
  readonly layout: Layout
  /** The range's bounds: inclusive start, exclusive end; null is open. */
  readonly min: Bound | null
  readonly max: Bound | null
  /** The attempt starts after this `_id`; null for the start of the range. */
  readonly cursor: Bound | null
  readonly attempt: number
  readonly session: ClientSession
  readonly budget: HsmBudget
  /** How large pages are, and how long to rest after one. */
  readonly pageSizing: PageSizing
  /** Waits until the rate allows so many envelopes. */
  readonly pace: (envelopes: number) => Promise<void>
  /** Whether this rotation had quarantined anything of this field when the attempt began. */
  readonly hasQuarantine: boolean
  /** Aborted to drop the pages in flight: they cannot be written any more, or have delayed a cancel too long. */
  readonly abandon: AbortController
  /** Why no further page is started. The first reason is kept. */
  stop: SweepEnd | null
}
