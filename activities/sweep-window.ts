import type { WindowLook } from '../contracts/rotation.ts'
import { windowState } from '../protocol/policy-times.ts'
import type { RotationDoc } from '../store/documents.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { requireOwn } from './own-rotation.ts'

/** Limits of the time between two looks, in milliseconds: clocks may be set, and timers of Temporal are early or late. */
const leastMs = 500
const mostMs = 3_600_000

export function windowActivities(deps: ControlDeps) {
  return {
    /** The window in the row of a rotation, by the database's clock. */
    lookAtWindow: async (input: { rotation: string }): Promise<WindowLook> =>
      await lookAt(deps, await requireOwn(deps.store, input.rotation)),
  }
}

/** A rotation without a window may always sweep. */
async function lookAt({ store }: ControlDeps, { window }: RotationDoc): Promise<WindowLook> {
  const now = await serverNow(store)
  if (window == null) return { isOpen: true, until: now.toISOString(), waitMs: mostMs }
  const { from_ms: fromMs, to_ms: toMs, time_zone: timeZone } = window
  const { isOpen, until } = windowState({ fromMs, toMs }, timeZone, now)
  const leftMs = until.getTime() - now.getTime()
  return { isOpen, until: until.toISOString(), waitMs: Math.min(mostMs, Math.max(leastMs, leftMs)) }
}
