import { ApplicationFailure } from '@temporalio/common'
import type { RemoveInput } from '../../../contracts/removal.ts'
import { act, newId, readKeks, type World } from './world.ts'

/** The steps of workflows/remove-kek.ts, one at a time. */
export interface RunningRemoval {
  readonly input: RemoveInput
  step: 'request' | 'pending' | 'guarded'
  guardRun: number
}

/** The next step of the removal of the version that is not active; a refusal ends it. Answers what came of it. */
export async function removeOn(world: World): Promise<string> {
  const { control } = world
  world.removal ??= await newRemoval(world)
  const { removal } = world
  if (removal === null) return 'no version to remove'
  const { input } = removal
  try {
    if (removal.step === 'request') {
      if (await isRefused(world, input, false)) return over(world, 'refused by a guard')
      await act(() => control.requestRemoval(input))
      removal.step = 'pending'
      return `version ${input.version} is asked to go`
    }
    if (removal.step === 'pending') {
      const guardRun = await act(() => control.beginGuardRun(input))
      if (guardRun === null) return over(world, 'undone')
      if (await isRefused(world, input, true)) {
        await act(() => control.undoRemoval({ ...input, reason: 'a guard' }))
        return over(world, 'taken back by a guard')
      }
      Object.assign(removal, { step: 'guarded', guardRun })
      return 'its guards pass behind the fence'
    }
    await act(() => control.destroyVersion({ ...input, guardRun: removal.guardRun }))
    return over(world, `version ${input.version} is destroyed`)
  } catch (error) {
    if (!(error instanceof ApplicationFailure) || error.type === 'internal') throw error
    return over(world, `refused: ${error.type ?? ''}`)
  }
}

export async function undo(world: World): Promise<string> {
  const { removal, control } = world
  if (removal === null) return 'no removal'
  await act(() => control.undoRemoval({ ...removal.input, reason: 'undone' }))
  return 'undone'
}

function over(world: World, said: string): string {
  world.removal = null
  return said
}

async function isRefused(world: World, input: RemoveInput, fenced: boolean): Promise<boolean> {
  const guards = await act(() => world.control.checkGuards({ ...input, fenced }))
  return guards.some(({ ok }) => !ok)
}

async function newRemoval({ store, identity: install }: World): Promise<RunningRemoval | null> {
  const [version] = (await readKeks(store)).others
  if (version === undefined) return null
  return {
    input: {
      ...{ install, version, request: newId(), requestedBy: 'model', destroyHsmKey: false },
      ...{ acceptQuarantine: false, withoutFence: false, undoWindowMs: 0, afterMs: 0 },
    },
    ...{ step: 'request', guardRun: 0 },
  }
}
