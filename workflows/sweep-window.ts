import { condition } from '@temporalio/workflow'
import { deciding } from './profiles.ts'
import { addPause, endPause, show } from './rotation-state.ts'
import type { RotationState } from './rotation-state.ts'

/** After a look that failed; the pause stays as it is until then. */
const againAfterMs = 60_000

/**
 * Runs the sweep of a rotation that has a window: outside it the rotation is paused. An activity looks at the window, which
 * is in the rotation's row, first before the sweep, then when it opens and closes.
 */
export async function inWindow(state: RotationState, sweep: () => Promise<void>): Promise<void> {
  if (state.facts?.hasWindow !== true) {
    await sweep()
    return
  }
  let isDone = false
  let waitMs = await look(state)
  const watch = async () => {
    for (;;) {
      await condition(() => isDone, waitMs)
      if (isDone) return
      waitMs = await look(state).catch(() => againAfterMs)
    }
  }
  const watching = watch()
  try {
    await sweep()
  } finally {
    isDone = true
    await watching
    endPause(state, 'window')
  }
}

/** Returns the time until the next look, in milliseconds. */
async function look(state: RotationState): Promise<number> {
  const { task, rotation } = state.input
  const { isOpen, until, waitMs } = await deciding.lookAtWindow({ task, rotation })
  state.opensAt = isOpen ? null : until
  if (isOpen) state.isOutside = false
  if (isOpen || state.isOutside) endPause(state, 'window')
  else addPause(state, 'window')
  state.steered += 1
  show(state)
  return waitMs
}
