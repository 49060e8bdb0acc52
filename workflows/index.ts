import { setWorkflowOptions } from '@temporalio/workflow'
import { installKek } from './install-kek.ts'
import { removeKek } from './remove-kek.ts'
import { rewrapShard } from './rewrap-shard.ts'
import { rotateKek } from './rotate-kek.ts'
import { scheduledRotation } from './scheduled-rotation.ts'
import { verifyFleet } from './verify-fleet.ts'

/** Ends in the build that began it, its children too; a change of these needs no `patched`. */
const pinned = { versioningBehavior: 'PINNED' } as const
/** Lives for weeks, and goes on in the newest build: a change of what it does is made behind `patched`. */
const upgrading = { versioningBehavior: 'AUTO_UPGRADE' } as const

setWorkflowOptions(pinned, installKek)
setWorkflowOptions(pinned, verifyFleet)
setWorkflowOptions(pinned, rotateKek)
setWorkflowOptions(pinned, rewrapShard)
setWorkflowOptions(upgrading, removeKek)
setWorkflowOptions(upgrading, scheduledRotation)

export { installKek, removeKek, rewrapShard, rotateKek, scheduledRotation, verifyFleet }
