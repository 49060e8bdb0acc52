import { Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import type { RotationDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { readRotation } from '../store/rotations.ts'
import type { Store } from '../store/store.ts'

/**
 * The steps of a rotation act on its row only. Anyone with access to the Temporal namespace can start a workflow that calls
 * any step with any input, so an input only names a rotation.
 */

/** The row, or null. Only a string is an id: an object could be an operator in the filter. */
export async function rotationOf(store: Store, rotation: unknown): Promise<RotationDoc | null> {
  return typeof rotation === 'string' ? await readRotation(store, rotation) : null
}

/** The row of a rotation that runs. Throws no-rotation. */
export async function requireRunning(store: Store, rotation: unknown): Promise<RotationDoc> {
  const row = await rotationOf(store, rotation)
  if (row !== null && row.ended_at === null) return row
  throw over(rotation, row)
}

/** The same, for a step of the rotation's own workflow. Throws no-rotation. */
export async function requireOwn(store: Store, rotation: unknown): Promise<RotationDoc> {
  const row = await requireRunning(store, rotation)
  requireWorkflow(row)
  return row
}

/** Throws no-rotation when this step was called by a workflow that is not the rotation's. */
export function requireWorkflow(row: RotationDoc): void {
  const { workflowId = '' } = Context.current().info.workflowExecution ?? {}
  if (row.workflow_id === workflowId) return
  throw new KeyturnError(
    'no-rotation',
    `rotation "${row._id}" is not the one of workflow "${workflowId}"`,
    { hint: `its workflow is "${row.workflow_id}"` },
  )
}

/**
 * The row of a running rotation that may move envelopes: its target is active, through its promote or since before.
 * Throws no-rotation and not-active.
 */
export async function requirePromoted(store: Store, rotation: unknown): Promise<RotationDoc> {
  const row = await requireRunning(store, rotation)
  const active = await readActive(store)
  const isPromoted = row.promoted_at !== null || row.seen?.promote === false
  if (isPromoted && active?.version === row.to) return row
  throw new KeyturnError(
    'not-active',
    `version ${row.to} is not active, so rotation "${row._id}" moves nothing under it`,
    { hint: 'keyturn status shows what is active' },
  )
}

function over(rotation: unknown, row: RotationDoc | null): KeyturnError {
  const name = typeof rotation === 'string' ? rotation.slice(0, 100) : typeof rotation
  return new KeyturnError(
    row?.outcome === 'cancelled' ? 'cancelled' : 'no-rotation',
    row === null ? `there is no rotation "${name}"` : `rotation "${name}" has ended`,
    { hint: 'keyturn status shows which rotation runs' },
  )
}
