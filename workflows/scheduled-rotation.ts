import {
  ApplicationFailure,
  executeChild,
  ParentClosePolicy,
  startChild,
  workflowInfo,
} from '@temporalio/workflow'
import { workflowIds } from '../contracts/names.ts'
import type { PolicyInput, PolicyResult } from '../contracts/install.ts'
import { installKek } from './install-kek.ts'
import { deciding } from './profiles.ts'
import { removeKek } from './remove-kek.ts'
import { rotateKek } from './rotate-kek.ts'

/**
 * One run of the policy: provision the next version → verify and rotate → request the removal of the old one. A refusal
 * fails the run, so that the Schedule pauses and a person can look.
 */
export async function scheduledRotation(input: PolicyInput): Promise<PolicyResult> {
  const { install } = input
  const plan = await deciding.planScheduledRotation(input)
  const run = { typedSearchAttributes: workflowInfo().typedSearchAttributes }
  await executeChild(installKek, {
    ...run,
    workflowId: workflowIds.install(install, plan.install.version),
    args: [plan.install],
  })
  const result = await executeChild(rotateKek, {
    ...run,
    workflowId: workflowIds.rotate(install),
    args: [plan.rotate],
  })
  if (result.error !== null) {
    throw ApplicationFailure.nonRetryable(result.error.message, result.error.code)
  }
  const { removeAfterMs } = input
  const { rotation } = plan.rotate
  const removal =
    removeAfterMs === null
      ? null
      : await deciding.planRemoval({ ...input, rotation, removeAfterMs })
  if (removal !== null) {
    await startChild(removeKek, {
      ...run,
      workflowId: workflowIds.remove(install, plan.from),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [removal],
      memo: { request: removal.request },
    })
  }
  return { rotation: result.rotation, from: result.from, to: result.to, outcome: result.outcome }
}
