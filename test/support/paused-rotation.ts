import { runningRotation } from '../../store/rotations.ts'
import type { Fleet } from './fleet.ts'

/** Starts a rotation to the other one of versions 1 and 2 and pauses it in its sweep. */
export async function pausedRotation(fleet: Fleet) {
  const from = await fleet.active()
  const to = 3 - from
  const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '1')
  await fleet.until(
    'the rotation does not sweep',
    async () => (await runningRotation(fleet.store))?.phase === 'rewrap',
    60_000,
  )
  await fleet.must('pause')
  return { from, to, rotation }
}
