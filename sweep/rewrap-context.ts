import type { ClientSession } from 'mongodb'
import type { SweepEnd } from '../contracts/rotation.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from '../store/documents.ts'
import type { HsmBudget } from './hsm-budget.ts'
import type { PageSizing } from './page-sizing.ts'
import type { SweepOptions } from './sweep-options.ts'

/** What the stages of one attempt share: the range that it took, and how it is told to stop. */
export interface RewrapContext {
  readonly options: SweepOptions
  readonly collection: string
  readonly field: string
  readonly layout: Layout
  /** The range's range: inclusive begin, exclusive end; null is open. */
  readonly min: Bound | null
  readonly max: Bound | null
  /** Where the attempt begins: behind the last `_id` that was dealt with; null at the range's begin. */
  readonly cursor: Bound | null
  readonly attempt: number
  readonly session: ClientSession
  readonly budget: HsmBudget
  /** How large pages are, and how long to rest behind one. */
  readonly pageSizing: PageSizing
  /** Waits until so many envelopes may go. */
  readonly pace: (envelopes: number) => Promise<void>
  /** Whether this rotation had quarantined anything of this field when the attempt began. */
  readonly hasQuarantine: boolean
  /** Aborted when the pages in flight are worthless, or have kept a cancel waiting too long. */
  readonly abandon: AbortController
  /** Why a stage began no further page. The first reason stays. */
  stop: SweepEnd | null
}
