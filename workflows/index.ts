import { setWorkflowOptions, workflowInfo } from '@temporalio/workflow'
import { installKek } from './install-kek.ts'
import { removeKek } from './remove-kek.ts'
import { rewrapRange } from './rewrap-range.ts'
import { rotateKek } from './rotate-kek.ts'
import { scheduledRotation } from './scheduled-rotation.ts'
import { verifyFleet } from './verify-fleet.ts'

/**
 * By the worker's default a run is pinned: it ends in the build that started it, and changes need no `patched`. These two
 * workflows live for weeks and continue in the newest build, so their changes need `patched`. A worker outside a deployment
 * must not set a behaviour: the server would refuse its tasks.
 */
const upgrading = () =>
  workflowInfo().currentDeploymentVersion?.deploymentName
    ? { versioningBehavior: 'AUTO_UPGRADE' as const }
    : {}

setWorkflowOptions(upgrading, removeKek)
setWorkflowOptions(upgrading, scheduledRotation)

export { installKek, removeKek, rewrapRange, rotateKek, scheduledRotation, verifyFleet }
