import {
  allHandlersFinished,
  condition,
  defineQuery,
  defineUpdate,
  setCurrentDetails,
  setHandler,
} from '@temporalio/workflow'
import { messages } from '../contracts/names.ts'
import type { RemovalProgress, RemoveInput, RemoveResult } from '../contracts/removal.ts'
import type { Guard } from '../contracts/views.ts'
import { deciding, holdingKeys, surveying } from './profiles.ts'
import { refuse, reportOf } from './refusal.ts'

export const undo = defineUpdate(messages.undo)
export const removalProgress = defineQuery<RemovalProgress>(messages.progress)

/**
 * Retires version N: guards → request → fence → undo window → all guards again → destroyed → (HSM object).
 * Like a rotation it never fails: a refusal is its result.
 */
export async function removeKek(input: RemoveInput): Promise<RemoveResult> {
  const progress: RemovalProgress = {
    version: input.version,
    ...waiting(input),
    guards: [],
  }
  setHandler(removalProgress, () => progress)
  setHandler(undo, async () => {
    if (progress.state === 'destroyed') refuse(noRemoval(input))
    progress.state = 'undone'
    const { state } = await undone(input, progress)
    if (state === 'destroyed') refuse(noRemoval(input))
  })
  try {
    await condition(() => isUndone(progress), input.afterMs)
    if (!isUndone(progress)) Object.assign(progress, { state: 'checking', dueAt: null })
    const refused = isUndone(progress) ? null : await request(input, progress)
    if (refused !== null) return refused
    await condition(() => isUndone(progress), input.undoWindowMs)
    return isUndone(progress) ? await undone(input, progress) : await conclude(input, progress)
  } catch (failure) {
    if (isUndone(progress)) return await undone(input, progress)
    return {
      ...(await deciding.readRemoval(input)),
      guards: progress.guards,
      error: reportOf(failure),
    }
  } finally {
    await condition(allHandlersFinished)
  }
}

/** A removal that a policy has planned waits first, and can be called off. */
function waiting({ version, afterMs }: RemoveInput): Pick<RemovalProgress, 'state' | 'dueAt'> {
  if (afterMs === 0) return { state: 'checking', dueAt: null }
  const dueAt = new Date(Date.now() + afterMs).toISOString()
  setCurrentDetails(
    `### Removal of v${version}\n- planned for ${dueAt}\n- call it off: keyturn remove --version ${version} --undo`,
  )
  return { state: 'waiting', dueAt }
}

const isUndone = ({ state }: RemovalProgress) => state === 'undone'

/** However late the word came: what was written for this request in the meantime is taken back. */
async function undone(input: RemoveInput, progress: RemovalProgress): Promise<RemoveResult> {
  await deciding.undoRemoval({ ...input, reason: 'undone by its operator' })
  return { ...(await deciding.readRemoval(input)), guards: progress.guards, error: null }
}

const noRemoval = ({ version }: RemoveInput) => ({
  code: 'no-removal' as const,
  message: `version ${version} was removed already`,
})

/** Up to `pending-removal`, behind the fence. Answers the refusal, or null when the window may begin. */
async function request(
  input: RemoveInput,
  progress: RemovalProgress,
): Promise<RemoveResult | null> {
  progress.guards = await surveying.checkGuards({ ...input, fenced: false })
  if (isUndone(progress)) return null
  const failing = progress.guards.filter((guard) => !guard.ok)
  if (failing.length > 0) return refusal(input, progress, failing)
  const { dueAt } = await surveying.requestRemoval(input)
  if (isUndone(progress)) return null
  Object.assign(progress, { state: 'pending-removal', dueAt })
  setCurrentDetails(
    `### Removal of v${input.version}\n- pending until ${dueAt}\n- undo: keyturn remove --version ${input.version} --undo`,
  )
  return null
}

/** After the window: everything is checked once more, now that MongoDB refuses N. */
async function conclude(input: RemoveInput, progress: RemovalProgress): Promise<RemoveResult> {
  const guardRun = await deciding.beginGuardRun(input)
  if (guardRun === null) return undone(input, progress)
  progress.guards = await surveying.checkGuards({ ...input, fenced: !input.withoutFence })
  const failing = progress.guards.filter((guard) => !guard.ok)
  if (failing.length > 0) {
    await deciding.undoRemoval({
      ...input,
      reason: `guard ${failing.map(({ guard }) => guard).join(', ')}`,
    })
    return refusal(input, progress, failing)
  }
  await deciding.destroyVersion({ ...input, guardRun })
  progress.state = 'destroyed'
  if (input.destroyHsmKey) {
    await holdingKeys(input.install, 'the key in the HSM').destroyHsmKey(input)
  }
  return { version: input.version, state: 'destroyed', guards: progress.guards, error: null }
}

async function refusal(
  input: RemoveInput,
  progress: RemovalProgress,
  failing: readonly Guard[],
): Promise<RemoveResult> {
  progress.state = 'refused'
  const names = failing.map(({ guard }) => guard).join(', ')
  const only = failing.length === 1 ? failing[0]?.guard : null
  return {
    ...(await deciding.readRemoval(input)),
    guards: progress.guards,
    error: {
      code:
        only === 'fence'
          ? 'no-fence'
          : only === 'approvals'
            ? 'approval-missing'
            : 'removal-refused',
      message: `version ${input.version} may not be removed: ${names}`,
      hint: failing[0]?.detail ?? 'see the guards',
    },
  }
}
