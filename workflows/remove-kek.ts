import {
  allHandlersFinished,
  condition,
  defineQuery,
  defineUpdate,
  setCurrentDetails,
  setHandler,
  sleep,
} from '@temporalio/workflow'
import type { ErrorReport } from '../contracts/errors.ts'
import { messages } from '../contracts/names.ts'
import type {
  RemovalProgress,
  RemovalStep,
  RemoveInput,
  RemoveResult,
} from '../contracts/removal.ts'
import { deciding, removingKey, surveying } from './profiles.ts'
import { refuse, reportOf } from './refusal.ts'

const betweenTurnsMs = 1_000

export const undo = defineUpdate(messages.undo)
export const removalProgress = defineQuery<RemovalProgress>(messages.progress)

/**
 * Retires version N: guards → request → fence → undo window → all guards again → destroyed → (HSM object). The workflow
 * only runs the steps in turn. Each step decides from MongoDB what comes next and whether it is allowed, so a new workflow
 * for a request continues where the last one ended. Like a rotation it never fails: a refusal is its result.
 */
export async function removeKek(input: RemoveInput): Promise<RemoveResult> {
  const progress: RemovalProgress = {
    version: input.version,
    phase: 'asked',
    dueAt: null,
    guards: [],
  }
  const request = { isUndone: false }
  const isUndone = () => request.isUndone
  setHandler(removalProgress, () => progress)
  setHandler(undo, async () => {
    request.isUndone = true
    const { state } = await surveying.undoRemoval(input)
    if (state === 'destroyed') refuse(noRemoval(input))
  })
  try {
    let step = await deciding.readRemoval(input)
    while (step.phase !== 'over') {
      show(progress, step)
      if (step.waitMs > 0) await condition(isUndone, step.waitMs)
      // A destroyed version cannot be undone; only its key is left to do.
      const next: RemovalStep =
        isUndone() && step.phase !== 'key'
          ? await surveying.undoRemoval(input)
          : await advance(input, step)
      // Another workflow may work on the same request: pause between tries.
      if (next.phase === step.phase && next.waitMs === 0) await sleep(betweenTurnsMs)
      step = { ...next, guards: next.guards.length === 0 ? step.guards : next.guards }
    }
    show(progress, step)
    return resultOf(step, step.error)
  } catch (failure) {
    const now = await deciding.readRemoval(input)
    return resultOf({ ...now, guards: progress.guards }, reportOf(failure))
  } finally {
    await condition(allHandlersFinished)
  }
}

async function advance(input: RemoveInput, { phase }: RemovalStep): Promise<RemovalStep> {
  switch (phase) {
    case 'planned':
    case 'asked':
      return await surveying.requestRemoval(input)
    case 'fencing':
      return await surveying.fenceRemoval(input)
    case 'pending':
      return await surveying.destroyVersion(input)
    case 'key':
      return await removingKey(input.install).destroyHsmKey(input)
    case 'over':
      return await deciding.readRemoval(input)
  }
}

function show(progress: RemovalProgress, { version, phase, dueAt, guards }: RemovalStep): void {
  Object.assign(progress, { phase, dueAt })
  if (guards.length > 0) progress.guards = guards
  if (dueAt === null) return
  const until = phase === 'planned' ? `planned for ${dueAt}` : `pending until ${dueAt}`
  setCurrentDetails(
    `### Removal of v${version}\n- ${until}\n- undo: keyturn remove --version ${version} --undo`,
  )
}

function resultOf(step: RemovalStep, error: ErrorReport | null): RemoveResult {
  const { version, request, state, hsmKey, guards } = step
  return { version, request, state, hsmKey, guards, error }
}

const noRemoval = ({ version }: RemoveInput) => ({
  code: 'no-removal' as const,
  message: `version ${version} was removed already`,
})
