import type { Document } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'
import type { NodeKind } from '../contracts/fleet.ts'
import { recordAudit } from './audit-outbox.ts'
import type { NodeDoc } from './documents.ts'
import { parseNode } from './fleet-documents.ts'
import { keystore } from './keystore.ts'
import { readHeartbeats } from './process-heartbeats.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** All nodes that were ever seen or expected, including decommissioned ones; ephemeral ones until they leave. */
export async function readRoster(store: Store): Promise<NodeDoc[]> {
  const found = await keystore.nodes(store).find({}).sort({ _id: 1 }).toArray()
  return found.map(parseNode)
}

function isDate(member: string): Document {
  return { $eq: [{ $type: member }, 'date'] }
}

/** Aggregation expression: the value there, if it is a date. */
function dateOr(member: string, otherwise: '$$NOW' | null): Document {
  return { $cond: [isDate(member), member, otherwise] }
}

/** Precision of `last_seen`, in milliseconds. Heartbeats, not this, show which processes are alive. */
const seenEveryMs = 600_000

/**
 * Records that a process of this node is running. Call it before the first heartbeat, and later unless `isSeenLately`. A host
 * stays a host; an ephemeral node that returns as a host becomes one. Throws `node-decommissioned`.
 */
export async function seeNode(store: Store, node: string, kind: NodeKind): Promise<NodeDoc> {
  const seen = await keystore.nodes(store).findOneAndUpdate(
    { _id: node },
    [
      {
        $set: {
          kind: { $cond: [{ $eq: ['$kind', 'host'] }, 'host', { $literal: kind }] },
          first_seen: dateOr('$first_seen', '$$NOW'),
          // A decommissioned node keeps its date.
          last_seen: { $cond: [isDate('$decommissioned_at'), '$last_seen', '$$NOW'] },
          decommissioned_at: dateOr('$decommissioned_at', null),
          decommissioned_by: { $ifNull: ['$decommissioned_by', null] },
        },
      },
    ],
    { upsert: true, returnDocument: 'after' },
  )
  if (seen === null) throw new KeyturnError('internal', 'an upsert returned no document')
  if (seen.decommissioned_at !== null) {
    throw new KeyturnError('node-decommissioned', `node "${node}" is decommissioned`, {
      hint: `readmit it with: keyturn nodes expect ${node}`,
    })
  }
  return seen
}

/** Whether a node's row already has what `seeNode` would write at `now`: same kind, not decommissioned, seen lately. */
export function isSeenLately(row: NodeDoc, kind: NodeKind, now: Date): boolean {
  const { decommissioned_at, last_seen } = row
  if (decommissioned_at !== null || last_seen === null) return false
  return (kind === row.kind || kind !== 'host') && now.getTime() - last_seen.getTime() < seenEveryMs
}

/** `nodes expect NAME`: the node must answer from now on, even if never seen; readmits a decommissioned one. */
export async function expectNode(store: Store, node: string, by: string): Promise<NodeDoc> {
  return inTransaction(store, async (session) => {
    const expected = await keystore.nodes(store).findOneAndUpdate(
      { _id: node },
      [
        {
          $set: {
            kind: 'host',
            first_seen: dateOr('$first_seen', '$$NOW'),
            last_seen: dateOr('$last_seen', null),
            decommissioned_at: null,
            decommissioned_by: null,
          },
        },
      ],
      { upsert: true, returnDocument: 'after', session },
    )
    if (expected === null) throw new KeyturnError('internal', 'an upsert returned no document')
    const entry = { actor: by, action: 'node-expected', subject: node, details: {} }
    await recordAudit(store, entry, session)
    return expected
  })
}

/**
 * `nodes decommission NAME`. Throws `node-unknown`, and `node-live` while the lease or the expiry of one of its processes
 * has not run out. Repeating it changes nothing.
 */
export async function decommissionNode(store: Store, node: string, by: string): Promise<NodeDoc> {
  const now = await serverNow(store)
  return inTransaction(store, async (session) => {
    const live = (await readHeartbeats(store, session)).find(
      (one) => one.node === node && (one.expires_at > now || one.lease_until > now),
    )
    if (live !== undefined) {
      throw new KeyturnError(
        'node-live',
        `node "${node}" is live: process ${live.pid} (${live.role})`,
        {
          hint: 'stop its processes first, then repeat this',
        },
      )
    }
    const row = await keystore.nodes(store).findOneAndUpdate(
      { _id: node },
      [
        {
          $set: {
            kind: { $cond: [{ $eq: ['$kind', 'ephemeral'] }, 'ephemeral', 'host'] },
            last_seen: dateOr('$last_seen', null),
            decommissioned_at: dateOr('$decommissioned_at', '$$NOW'),
            decommissioned_by: { $ifNull: ['$decommissioned_by', { $literal: by }] },
          },
        },
      ],
      { session, returnDocument: 'after' },
    )
    if (row === null) {
      throw new KeyturnError('node-unknown', `node "${node}" is not in the roster`, {
        hint: 'keyturn nodes list shows those that are',
      })
    }
    const entry = { actor: by, action: 'node-decommissioned', subject: node, details: {} }
    await recordAudit(store, entry, session)
    return row
  })
}

/** A clean stop of an ephemeral node removes it from the roster, unless another of its processes is running. */
export async function leaveNode(store: Store, node: string): Promise<void> {
  const now = await serverNow(store)
  const other = await keystore.heartbeats(store).findOne({ node, expires_at: { $gt: now } })
  if (other !== null) return
  await keystore.nodes(store).deleteOne({ _id: node, kind: 'ephemeral', decommissioned_at: null })
}
