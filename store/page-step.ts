import type { ProviderName } from '../contracts/kek.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'

/** One new wrap. */
export interface PageUpdate {
  /** `PageEntry.id`. */
  id: unknown
  /** The wrapped DEK as it was read: the update matches only an envelope that still has it. A string if it is stored as one. */
  oldWrapped: Uint8Array | string
  dekIv: Uint8Array
  dekWrapped: Uint8Array
}

/** One row for quarantine. */
export interface PageQuarantine {
  /** `PageEntry.id`. */
  id: unknown
  /** `wrapDigest` of the wrap fields as found. */
  digest: Uint8Array
  code: string
  message: string
  /** How many envelopes it counts; one unless given. */
  count?: number
}

/**
 * What one transaction writes: a page, or a part of one. `updates` in the page's order. `oldCursor` and `newCursor` may be
 * equal only when there are no updates.
 */
export interface PageStep {
  rotation: string
  range: string
  attempt: number
  collection: string
  layout: Layout
  oldCursor: Bound | null
  newCursor: Bound | null
  from: number
  to: number
  /** Of the new wraps. */
  provider: ProviderName
  updates: readonly PageUpdate[]
  quarantine: readonly PageQuarantine[]
  counters: { hsmCalls: number }
  /** Throws `lease-expired` if this process may no longer wrap. */
  leaseCheck: () => void
  /** True for the last page: it closes the range. */
  closes?: boolean
}

export interface PageCounts {
  rewrapped: number
  superseded: number
  quarantined: number
}
