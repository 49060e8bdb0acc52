import { setWorkflowOptions, workflowInfo } from '@temporalio/workflow'
import { installKek } from './install-kek.ts'
import { removeKek } from './remove-kek.ts'
import { rewrapRange } from './rewrap-range.ts'
import { rotateKek } from './rotate-kek.ts'
import { scheduledRotation } from './scheduled-rotation.ts'
import { verifyFleet } from './verify-fleet.ts'

/**
 * By the worker's default a run is pinned: it ends in the build that began it, and a change needs no `patched`. These two
 * live for weeks and go on in the newest build: a change of what they do is made behind `patched`. A worker that is no
 * build of a deployment must not name a behaviour: the server refuses its tasks.
 */
const upgrading = () =>
  workflowInfo().currentDeploymentVersion?.deploymentName
    ? { versioningBehavior: 'AUTO_UPGRADE' as const }
    : {}

setWorkflowOptions(upgrading, removeKek)
setWorkflowOptions(upgrading, scheduledRotation)

export { installKek, removeKek, rewrapRange, rotateKek, scheduledRotation, verifyFleet }
