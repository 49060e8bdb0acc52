import { runningRotation } from '../../store/rotations.ts'
import { route } from './each-provider.ts'
import type { Fleet, RunningCli } from './fleet.ts'

export interface HeldRotation {
  readonly from: number
  readonly to: number
  /** Envelopes to re-wrap. */
  readonly total: number
  readonly rotation: RunningCli
}

/** Starts a rotation to the other one of versions 1 and 2 and pauses it in its sweep. */
export async function pausedRotation(fleet: Fleet): Promise<HeldRotation> {
  const started = await start(fleet)
  await fleet.until(
    'the rotation does not sweep',
    async () => (await runningRotation(fleet.store))?.phase === 'rewrap',
    60_000,
  )
  await fleet.must('pause')
  return started
}

/**
 * Starts a rotation to the other one of versions 1 and 2, and resolves when it has re-wrapped an envelope. It re-wraps one a
 * second, so with hundreds of records it sweeps until the test sets another rate (0: no limit), however slow the machine is.
 */
export async function slowRotation(
  fleet: Fleet,
  ...args: readonly string[]
): Promise<HeldRotation> {
  const started = await start(fleet, ...args)
  await fleet.rewrapped(1)
  return started
}

async function start(fleet: Fleet, ...args: readonly string[]): Promise<HeldRotation> {
  const { from, to, total } = await route(fleet)
  const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '1', ...args)
  return { from, to, total, rotation }
}
