import type { ActivityDeps, ControlDeps } from './deps.ts'
import { gated } from './failures.ts'
import { ownTask } from './foreign-task.ts'
import { fleetActivities } from './fleet.ts'
import { fleetAnswerActivities } from './fleet-answers.ts'
import { installationActivities } from './installation.ts'
import { ceremonyActivities } from './key-ceremony.ts'
import { nodeActivities } from './node-proofs.ts'
import { policyActivities } from './policy.ts'
import { removalActivities } from './removal.ts'
import { rewrapActivities } from './rewrap-batch.ts'
import { rotationActivities } from './rotation.ts'
import { requireAnswer } from '../store/majority.ts'
import { rangeActivities } from './ranges.ts'
import { windowActivities } from './sweep-window.ts'

/** The activities on the control queue; none needs a key. */
export function createControlActivities(deps: ControlDeps) {
  const activities = {
    ...installationActivities(deps),
    ...fleetActivities(deps),
    ...fleetAnswerActivities(deps),
    ...rotationActivities(deps),
    ...windowActivities(deps),
    ...rangeActivities(deps),
    ...removalActivities(deps),
    ...policyActivities(deps),
  }
  return gated(activities, admitted(deps, 'control'))
}

/** Work with keys, on the rewrap queue: sweeps, and making and destroying keys. */
export function createRewrapActivities(deps: ActivityDeps) {
  return gated({ ...rewrapActivities(deps), ...ceremonyActivities(deps) }, admitted(deps, 'rewrap'))
}

/** Questions to one host, on its own queue. */
export function createNodeActivities(deps: ActivityDeps) {
  return gated(nodeActivities(deps), ownTask(deps, 'node'))
}

/** A worker that cannot reach MongoDB, or its majority, hands a step back at once, so that another one can take it. */
function admitted(deps: ControlDeps, queue: 'control' | 'rewrap') {
  const requireOwn = ownTask(deps, queue)
  return async (input: unknown) => {
    await requireAnswer(deps.store)
    await requireOwn(input)
  }
}

export type ControlActivities = ReturnType<typeof createControlActivities>
export type RewrapActivities = ReturnType<typeof createRewrapActivities>
export type NodeActivities = ReturnType<typeof createNodeActivities>
