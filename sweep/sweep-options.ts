import type { CheckMode } from '../contracts/settings.ts'
import type { Counters, Priority, SweepEnd } from '../contracts/rotation.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'

/** The part of a fleet member that a sweep needs. */
export interface SweepLease {
  /** Returns when this process may wrap under this version: lease and proof are young. Throws lease-expired, hsm-*, wrong-key. */
  requireLease(version: number): Promise<void>
  /** The same question without a wait, for inside a transaction. */
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
  /** Most envelopes of a page, 1 to 5,000. */
  page: number
  /** `rotation` unless given. */
  priority?: Priority
  check: CheckMode
  /** This range's share of the rotation's rate, envelopes a second; 0 is no limit. */
  ratePerSecond: number
  /** The whole rotation's budget of crypt calls; 0 is no limit. */
  maxHsmCalls: number
  /** On the clock of `performance.now()`: no page is begun after it, but for the first. */
  deadline: number
  /** Aborted: no page is begun any more; those in flight are still written. */
  signal: AbortSignal
  /** True in settle: an envelope that stays unmatched is quarantined, so that no sweep waits for ever. */
  tail: boolean
  /** After each written page, with the sums of this attempt. */
  onPage(progress: { counters: Counters }): void
  log: Log
}

export interface SweepResult {
  /**
   * `end`: the range has no more envelopes. `deadline`, `aborted`, `hsm-budget`: stopped at a page's end; it goes on
   * from the range document. `replaced`: another attempt has the range, or the rotation is over; from then on nothing
   * was written.
   */
  end: SweepEnd
  /** Of this attempt. */
  counters: Counters
}
