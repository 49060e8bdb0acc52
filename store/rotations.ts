import { clipped } from '../contracts/clipped.ts'
import { KeyturnError, type ErrorReport } from '../contracts/errors.ts'
import type { Counters, RotateInput } from '../contracts/rotation.ts'
import type { RotationDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { literals } from './literals.ts'
import { approveRotation } from './rotation-approval.ts'
import { isDuplicateKey } from './server-errors.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import type { RecordDoc } from './record-schema.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** Limit of an operator's text in characters, so that the row stays readable. */
const longestName = 300
const longestReason = 2_000

type RequestFields = 'rotation' | 'from' | 'to' | 'requestedBy' | 'reason' | 'maxHsmCalls'
type SweepFields = 'page' | 'shards' | 'check' | 'priority' | 'window'

export interface NewRotation extends Pick<RotateInput, RequestFields | SweepFields> {
  workflowId: string
  runId: string | null
  /** The node that begins it. */
  worker: string
}

/**
 * Inserts the row, in phase `preflight`, and uses the approvals that a rotation needs. Returns the stored row, which may be
 * from an earlier try. Throws `approval-missing`.
 */
export async function insertRotation(store: Store, input: NewRotation): Promise<RotationDoc> {
  const row: RotationDoc = {
    _id: input.rotation,
    from: input.from,
    to: input.to,
    phase: 'preflight',
    outcome: null,
    requested_by: clipped(input.requestedBy, longestName),
    reason: clipped(input.reason, longestReason),
    started_at: await serverNow(store),
    promoted_at: null,
    settled_at: null,
    ended_at: null,
    seen: null,
    way: {
      page: input.page,
      shards: input.shards,
      check: input.check,
      priority: input.priority ?? 'rotation',
    },
    window: windowOf(input),
    epoch: null,
    fleet_left: null,
    total: null,
    counters: null,
    hsm_reserved: 0,
    max_hsm_calls: input.maxHsmCalls,
    silent: [],
    workflow_id: input.workflowId,
    run_id: input.runId,
    error: null,
    shards_closed: false,
    touches: 0,
  }
  try {
    await inTransaction(store, async (session) => {
      // First: a repeated step finds the row, whatever has changed since.
      await keystore.rotations(store).insertOne(row, { session })
      await approveRotation(store, input, row.requested_by, session)
      await recordAudit(store, startEntry(row, input), session)
    })
    return row
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  const there = await readRotation(store, input.rotation)
  if (there === null) throw new KeyturnError('internal', `rotation "${input.rotation}" is gone`)
  return there
}

function startEntry(row: RotationDoc, { worker }: NewRotation): AuditEntry {
  const { _id, from, to, reason, max_hsm_calls: maxHsmCalls } = row
  return {
    actor: row.requested_by,
    action: 'rotation-started',
    subject: _id,
    details: { from, to, reason, maxHsmCalls, claimed: true, worker },
  }
}

function windowOf({ window }: NewRotation): NonNullable<RotationDoc['window']> | null {
  if (window == null) return null
  return { from_ms: window.fromMs, to_ms: window.toMs, time_zone: window.timeZone }
}

export async function readRotation(store: Store, rotation: string): Promise<RotationDoc | null> {
  return keystore.rotations(store).findOne({ _id: rotation })
}

/** The one that ended last. */
export async function lastRotation(store: Store): Promise<RotationDoc | null> {
  return keystore
    .rotations(store)
    .findOne({ ended_at: { $ne: null } }, { sort: { ended_at: -1, _id: -1 } })
}

/** The one that completed last, with quarantine or without. */
export async function lastCompletedRotation(store: Store): Promise<RotationDoc | null> {
  return keystore
    .rotations(store)
    .findOne(
      { outcome: { $in: ['completed', 'completed-with-quarantine'] } },
      { sort: { ended_at: -1, _id: -1 } },
    )
}

/** The newest that has not ended; its workflow may be gone. */
export async function runningRotation(store: Store): Promise<RotationDoc | null> {
  return keystore
    .rotations(store)
    .findOne({ ended_at: null }, { sort: { started_at: -1, _id: -1 } })
}

export interface RotationEnd {
  error?: ErrorReport | null
  counters?: Counters | null
  silent?: string[]
  /** The last part of its record. */
  record?: Pick<RecordDoc, 'after' | 'quarantine'>
  /** Envelopes that are still under its version, and the node that ends it, for the audit. */
  remaining?: number
  worker?: string
}

/** Ends the row. False when it had ended before: the first outcome stays. Close its ranges and clear its marks after. */
export async function endRotation(
  store: Store,
  rotation: string,
  outcome: NonNullable<RotationDoc['outcome']>,
  end: RotationEnd = {},
): Promise<boolean> {
  const { counters, record = {} } = end
  const recorded = Object.entries(record).map(([name, value]) => [`record.${name}`, value])
  const fields = {
    outcome,
    ...(Object.fromEntries(recorded) as object),
    ...(end.error === undefined ? {} : { error: end.error }),
    ...(end.silent === undefined ? {} : { silent: end.silent }),
    ...(counters === undefined || counters === null
      ? {}
      : {
          counters: {
            rewrapped: counters.rewrapped,
            superseded: counters.superseded,
            quarantined: counters.quarantined,
            hsm_calls: counters.hsmCalls,
          },
        }),
  }
  return inTransaction(store, async (session) => {
    const row = await keystore
      .rotations(store)
      .findOneAndUpdate(
        { _id: rotation, ended_at: null },
        [{ $set: { ...literals(fields), ended_at: '$$NOW' } }],
        { session, returnDocument: 'after' },
      )
    if (row === null) return false
    await recordAudit(store, endEntry(row, end), session)
    return true
  })
}

/** The entry of a rotation's end; `row` as it ended. */
export function endEntry(row: RotationDoc, end: RotationEnd): AuditEntry {
  const { counters, remaining, silent = [], worker } = end
  return {
    actor: row.requested_by,
    action: `rotation-${row.outcome ?? 'failed'}`,
    subject: row._id,
    details: {
      from: row.from,
      to: row.to,
      ...counters,
      remaining,
      silent,
      error: row.error?.code ?? null,
      claimed: true,
      worker,
    },
  }
}
