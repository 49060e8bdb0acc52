import { faultOf } from '../wire/errors.ts'
import type { Reply } from '../wire/messages.ts'

/** What a pool has done since it was opened. */
export class PoolStats {
  /** Crypt calls. */
  calls = 0
  /** Lane processes that were replaced. */
  reconnects = 0
  /** Answers of the module other than CKR_OK, by number, those that a lane mended by itself included. */
  readonly byCode: Record<string, number> = {}

  /** Adds a reply; true when the token throttled on the way. */
  add({ calls, byCode }: Reply): boolean {
    this.calls += calls
    let throttled = false
    for (const [ckr, times] of Object.entries(byCode)) {
      this.byCode[ckr] = (this.byCode[ckr] ?? 0) + times
      throttled ||= faultOf(Number(ckr)) === 'back-off'
    }
    return throttled
  }
}
