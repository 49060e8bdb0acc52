import {
  ApplicationFailure,
  CancellationScope,
  executeChild,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common'
import { KeyturnError, type ErrorReport } from '../contracts/errors.ts'
import { workflowIds, type InstallIdentity } from '../contracts/names.ts'
import type { PolicyInput, PolicyResult, PolicyStep } from '../contracts/policy.ts'
import type { RemoveInput } from '../contracts/removal.ts'
import { installKek } from './install-kek.ts'
import { deciding, surveying } from './profiles.ts'
import { reportOf } from './refusal.ts'
import { removeKek } from './remove-kek.ts'
import { rotateKek } from './rotate-kek.ts'
import { ping } from './rotation-state.ts'

/** An installation that somebody else runs is looked at again after this pause. */
const installingMs = 5_000

/** What ended a run: an error, or a rotation that it met, of somebody else. */
interface Ending {
  error: ErrorReport | null
  met: string | null
}

/**
 * One look at the policy: removals that were refused are tried again, and a run begins if one is due. A run leaves older
 * versions, rotates to an unused or a new version, and plans the removal of what it left. A failed run fails the workflow, so
 * that the Schedule pauses too.
 */
export async function scheduledRotation(input: PolicyInput): Promise<PolicyResult> {
  const look = await surveying.lookAtPolicy(input)
  await startRemovals(input.install, look.removals)
  if (!look.begun) return { outcome: 'idle' }
  const ending = await endOf(input)
  const end = await CancellationScope.nonCancellable(async () => {
    const ended = await deciding.endPolicyRun({ ...input, ...ending })
    await startRemovals(input.install, ended.removals)
    return ended
  })
  if (end.error === null) return { outcome: end.outcome }
  throw ApplicationFailure.nonRetryable(end.error.message, end.error.code)
}

async function endOf(input: PolicyInput): Promise<Ending> {
  try {
    for (let step = await surveying.nextPolicyStep(input); step.state !== 'done';) {
      if (step.state === 'met')
        return { error: null, met: await requireRunning(input.install, step.rotation) }
      const next = step.state === 'rotate' ? await rotate(input, step) : step
      if (next?.state === 'waits') await sleep(next.waitMs)
      step = await surveying.nextPolicyStep(input)
    }
    return { error: null, met: null }
  } catch (failure) {
    // Somebody started a rotation first.
    if (failure instanceof WorkflowExecutionAlreadyStartedError) {
      return { error: null, met: failure.workflowId }
    }
    return { error: reportOf(failure), met: null }
  }
}

/** Installs the version if it is to be made, and rotates to it. Returns a wait if the version's material is missing. */
async function rotate(
  { install, task }: PolicyInput,
  step: PolicyStep & { state: 'rotate' },
): Promise<PolicyStep | null> {
  const common = { typedSearchAttributes: workflowInfo().typedSearchAttributes }
  if (step.install !== null) {
    const { version } = step.install
    try {
      await executeChild(installKek, {
        ...common,
        workflowId: workflowIds.install(install, version),
        args: [step.install],
      })
    } catch (failure) {
      if (failure instanceof WorkflowExecutionAlreadyStartedError) {
        return { state: 'waits', waitMs: installingMs }
      }
      const error = reportOf(failure)
      if (error.code !== 'material-missing') throw failure
      return await deciding.awaitMaterial({ task, error })
    }
  }
  const { rotation, from, to } = step.rotate
  const { error } = await executeChild(rotateKek, {
    ...common,
    workflowId: workflowIds.rotate(install),
    args: [step.rotate],
    memo: { rotation, from, to },
  })
  if (error === null) return null
  const details = [{ hint: error.hint }]
  throw ApplicationFailure.create({ type: error.code, message: error.message, details })
}

/** A rotation that has not ended although its workflow is gone needs a person. Throws rotation-running for that. */
async function requireRunning(install: InstallIdentity, rotation: string): Promise<string> {
  try {
    await getExternalWorkflowHandle(workflowIds.rotate(install)).signal(ping)
    return rotation
  } catch {
    throw new KeyturnError(
      'rotation-running',
      `rotation "${rotation}" has not ended, and its workflow is gone`,
      { hint: 'keyturn status shows it, and the command that goes on with it' },
    )
  }
}

async function startRemovals(
  install: InstallIdentity,
  removals: readonly RemoveInput[],
): Promise<void> {
  for (const removal of removals) {
    try {
      await startChild(removeKek, {
        typedSearchAttributes: workflowInfo().typedSearchAttributes,
        workflowId: workflowIds.remove(install, removal.version),
        parentClosePolicy: ParentClosePolicy.ABANDON,
        args: [removal],
        memo: { request: removal.request },
      })
    } catch (failure) {
      // It works on the same version's open request.
      if (!(failure instanceof WorkflowExecutionAlreadyStartedError)) throw failure
    }
  }
}
