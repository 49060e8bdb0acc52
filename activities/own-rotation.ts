import { Context } from '@temporalio/activity'
import { KeyturnError } from '../contracts/errors.ts'
import type { RotationDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { readRotation } from '../store/rotations.ts'
import type { Store } from '../store/store.ts'

/**
 * What a step of a rotation goes by is its row. Whoever has access to the Temporal namespace can start a workflow that calls
 * any step with any input; so an input names a rotation, and says nothing about it.
 */

/** The row, or null. What is no text is no id: it would be an operator in a filter. */
export async function rotationOf(store: Store, rotation: unknown): Promise<RotationDoc | null> {
  return typeof rotation === 'string' ? await readRotation(store, rotation) : null
}

/** The row of a rotation that runs. Throws no-rotation. */
export async function requireRunning(store: Store, rotation: unknown): Promise<RotationDoc> {
  const row = await rotationOf(store, rotation)
  if (row !== null && row.ended_at === null) return row
  throw over(rotation, row)
}

/** The same, of the rotation whose workflow takes this step. Throws no-rotation. */
export async function requireOwn(store: Store, rotation: unknown): Promise<RotationDoc> {
  const row = await requireRunning(store, rotation)
  requireWorkflow(row)
  return row
}

/** Throws no-rotation where another workflow than the rotation's takes this step. */
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
 * The row of a rotation that runs and may move envelopes: its target is active, by its own promote or from before it.
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
