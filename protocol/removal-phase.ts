import type { HsmKeyState } from '../contracts/kek.ts'
import type { RemovalPhase } from '../contracts/removal.ts'
import type { ProviderName } from '../contracts/kek.ts'

/** The members of a request's row that its phase follows from. */
interface RequestRow {
  readonly _id: string
  readonly standing: boolean
  readonly not_before: Date | null
  readonly destroy_hsm_key: boolean
}

/** The members of a version's row that the phase follows from. */
interface VersionRow {
  readonly provider: ProviderName
  readonly activated_at: Date | null
  readonly left_at: Date | null
  readonly destroyed_at: Date | null
  readonly removal: {
    readonly request: string
    readonly due_at: Date
    readonly without_fence: boolean
    readonly fenced_at: Date | null
    readonly hsm_key: 'destroyed' | 'absent' | null
  } | null
}

/** The two clocks that must both have passed a moment. */
export interface Clocks {
  readonly now: Date
  readonly ownNow: Date
}

/** The phase of a request. It is derived, never stored, so that any step can continue where the last one stopped. */
export function removalPhase(
  request: RequestRow,
  version: VersionRow,
  clocks: Clocks,
): RemovalPhase {
  if (!request.standing) return 'over'
  if (version.destroyed_at !== null) return request.destroy_hsm_key ? 'key' : 'over'
  const { removal } = version
  if (removal === null) {
    return leftUntil(request.not_before, clocks) > 0 ? 'planned' : 'asked'
  }
  if (removal.request !== request._id) return 'asked'
  const isOpen = needsFence(version) && !removal.without_fence && removal.fenced_at === null
  return isOpen ? 'fencing' : 'pending'
}

/**
 * Nothing was ever wrapped under a version that was never active. `left_at` without `activated_at` means that an older state
 * was restored: the version may have been active in the lost one.
 */
export function needsFence(row: Pick<VersionRow, 'activated_at' | 'left_at'>): boolean {
  return row.activated_at !== null || row.left_at !== null
}

/** Time until a moment has passed by both clocks, in ms; 0 if it has passed, or is null. */
export function leftUntil(moment: Date | null, { now, ownNow }: Clocks): number {
  if (moment === null) return 0
  return Math.max(0, moment.getTime() - Math.min(now.getTime(), ownNow.getTime()))
}

/**
 * Time between the request and the second run of the guards: the undo window, and never less than two heartbeats and a
 * lease, so that every process that still uses the version has reported it.
 */
export function removalWindowMs(settings: {
  fleet: { heartbeatMs: number; leaseMs: number }
  removal: { undoWindowMs: number }
}): number {
  const { heartbeatMs, leaseMs } = settings.fleet
  return Math.max(settings.removal.undoWindowMs, 2 * heartbeatMs + leaseMs)
}

/** What is known of the object in the HSM. */
export function hsmKeyOf({
  provider,
  removal,
}: Pick<VersionRow, 'provider' | 'removal'>): HsmKeyState {
  return provider === 'env' ? 'none' : (removal?.hsm_key ?? 'kept')
}
