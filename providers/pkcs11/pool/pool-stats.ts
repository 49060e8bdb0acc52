import { faultOf } from '../wire/fault-class.ts'
import type { LaneReply } from '../wire/messages.ts'

/** What a pool has done since it was opened. */
export class PoolStats {
  /** Crypt calls. */
  calls = 0
  /** Lane processes that were replaced. */
  reconnects = 0
  /** Counts of the module's return codes other than CKR_OK, including calls that a lane retried with success. */
  readonly byCode: Record<string, number> = {}

  /** Adds a reply; true when the token throttled during it. */
  add({ calls, byCode }: LaneReply): boolean {
    this.calls += calls
    let throttled = false
    for (const [ckr, times] of Object.entries(byCode)) {
      this.byCode[ckr] = (this.byCode[ckr] ?? 0) + times
      throttled ||= faultOf(Number(ckr)) === 'back-off'
    }
    return throttled
  }
}
