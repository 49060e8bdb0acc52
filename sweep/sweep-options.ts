import type { CheckMode } from '../contracts/settings.ts'
import type { Counters, Priority } from '../contracts/rotation.ts'
import type { SweepEnd } from '../contracts/rewrap.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'

/** The part of a fleet member that a sweep needs. */
export interface SweepLease {
  /** Resolves when this process may wrap under this version: its lease and its proof are recent. Throws lease-expired, hsm-*, wrong-key. */
  requireLease(version: number): Promise<void>
  /** Checks the lease without waiting, for use inside a transaction. */
  assertLease(): void
  countWraps(version: number, wraps: number): void
}

export interface SweepOptions {
  store: Store
  provider: KekProvider
  lease: SweepLease
  install: string
  rotation: string
  range: string
  from: number
  to: number
  /** Maximum envelopes in a page, 1 to 5,000. */
  page: number
  /** `rotation` unless given. */
  priority?: Priority
  check: CheckMode
  /** This range's share of the rotation's rate, envelopes a second; 0 is no limit. */
  ratePerSecond: number
  /** The whole rotation's budget of crypt calls; 0 is no limit. */
  maxHsmCalls: number
  /** By `performance.now()`: no page but the first starts after it. */
  deadline: number
  /** After an abort no page is started; pages in flight are still written. */
  signal: AbortSignal
  /** True in settle: an envelope that no update matches is quarantined, so that the tail ends. */
  tail: boolean
  /** Called after each written page with the sums of this attempt. */
  onPage(progress: { counters: Counters }): void
  log: Log
}

export interface SweepResult {
  /**
   * `end`: the range has no more envelopes. `deadline`, `aborted`, `hsm-budget`: stopped after a page; the next attempt
   * continues from the range document. `replaced`: another attempt has the range, or the rotation has ended; nothing was
   * written since.
   */
  end: SweepEnd
  /** Of this attempt. */
  counters: Counters
}
