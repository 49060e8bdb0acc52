import { ApplicationFailure } from '@temporalio/common'
import type { RemovalStep, RemoveInput } from '../../../contracts/removal.ts'
import { openRemoval, currentRemoval } from '../../../store/removal-requests.ts'
import { act, newId, readKeks, type World } from './world.ts'

/** A removal as its workflow sees it: the request's id, and nothing else. */
export interface RunningRemoval {
  readonly input: RemoveInput
}

/** Takes the next step of removing the version that is not active; a refusal ends it. Returns the outcome. */
export async function removeOn(world: World): Promise<string> {
  world.removal ??= await newRemoval(world)
  const { removal, control } = world
  if (removal === null) return 'no version to remove'
  const { input } = removal
  const { phase } = await act(() => control.readRemoval(input))
  const next = {
    asked: 'requestRemoval',
    fencing: 'fenceRemoval',
    pending: 'destroyVersion',
  } as const
  if (phase !== 'asked' && phase !== 'fencing' && phase !== 'pending') return over(world, phase)
  const step = await act(() => control[next[phase]](input))
  const refusal = step.error === null ? '' : `, refused: ${step.error.message}`
  if (step.phase === 'over') world.removal = null
  return `version ${input.version} is ${step.phase}${refusal}`
}

/** Forges a step: any step, of any version, of an open request or of none. The invariants are then checked on the world. */
export async function forge(world: World, at: number): Promise<string> {
  const { control, store, identity: install, task } = world
  const steps = [...(['destroyVersion', 'requestRemoval', 'fenceRemoval', 'undoRemoval'] as const)]
  const name = steps[at % steps.length] ?? 'destroyVersion'
  const { active, others } = await readKeks(store)
  const version = [active, ...others][Math.floor(at / steps.length) % (others.length + 1)] ?? active
  const standing = await currentRemoval(store, version)
  const claims = {
    guardRun: 1,
    undoWindowMs: 0,
    afterMs: 0,
    requestedBy: 'root',
    reason: 'forged',
    destroyHsmKey: true,
    acceptQuarantine: true,
    withoutFence: true,
    fenced: true,
  }
  const input = { install, task, version, request: standing?._id ?? newId(), ...claims }
  try {
    const { phase }: RemovalStep = await act(() => control[name](input))
    return `${name} of version ${version}: ${phase}`
  } catch (error) {
    if (!(error instanceof ApplicationFailure) || error.type === 'internal') throw error
    return `${name} of version ${version}: ${error.type ?? ''}`
  }
}

export async function undo(world: World): Promise<string> {
  const { removal, control } = world
  if (removal === null) return 'no removal'
  await act(() => control.undoRemoval(removal.input))
  return 'undone'
}

function over(world: World, said: string): string {
  world.removal = null
  return said
}

async function newRemoval({
  store,
  identity: install,
  task,
}: World): Promise<RunningRemoval | null> {
  const [version] = (await readKeks(store)).others
  if (version === undefined) return null
  const { _id: request } = await openRemoval(store, {
    request: newId(),
    version,
    requestedBy: 'model',
    afterMs: 0,
    destroyHsmKey: false,
    acceptQuarantine: false,
    withoutFence: false,
  })
  return { input: { install, task, version, request } }
}
