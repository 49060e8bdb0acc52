import type { ProviderName } from '../contracts/kek.ts'
import type { Layout } from '../envelope/layout.ts'
import type { Bound } from './documents.ts'

/** One new wrap. */
export interface PageUpdate {
  /** `PageEntry.id`. */
  id: unknown
  /** The wrapped DEK as it was read: the update only meets an envelope that still has it. Text where it is text. */
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
  /** How many envelopes it stands for; one unless given. */
  count?: number
}

/** What one transaction writes: a page, or a part of one. */
export interface PageStep {
  rotation: string
  range: string
  attempt: number
  collection: string
  field: string
  /** `keyturn-1` unless given. */
  layout?: Layout
  oldCursor: Bound | null
  newCursor: Bound | null
  from: number
  to: number
  /** Of the new wraps. */
  provider: ProviderName
  updates: readonly PageUpdate[]
  quarantine: readonly PageQuarantine[]
  counters: { hsmCalls: number }
  /** Throws `lease-expired` when this process may not wrap any more. */
  leaseCheck: () => void
  /** True closes the range with this page, its last. */
  closes?: boolean
}

export interface PageCounts {
  rewrapped: number
  superseded: number
  quarantined: number
}
