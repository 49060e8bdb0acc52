import { ObjectId, type ClientSession } from 'mongodb'
import { clipped } from '../contracts/clipped.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'

/**
 * Entries of the audit are written to an outbox, in the transaction of what they tell, so a crash neither loses nor doubles
 * one. Any process chains them later (audit-chain.ts). A chain's head in each transaction would be a document that all acts
 * write: one writer that is frozen in its transaction would hold up all others.
 */

export interface AuditEntry {
  actor: string
  action: string
  subject: string
  /** JSON types only, ids as EJSON; members that JSON omits are omitted. */
  details: object
}

/** Limit of actor and subject, in characters. */
const longest = 2_000

/**
 * Records an entry: in the transaction of `session`, together with what it tells; without one, for an act outside MongoDB, by
 * itself.
 */
export async function recordAudit(
  store: Store,
  entry: AuditEntry,
  session?: ClientSession,
): Promise<void> {
  await keystore.auditOutbox(store).insertOne(
    {
      _id: new ObjectId(),
      at: await serverNow(store),
      actor: wellFormed(clipped(entry.actor, longest)),
      action: entry.action,
      subject: wellFormed(clipped(entry.subject, longest)),
      details: jsonOf(entry.details),
    },
    session === undefined ? {} : { session },
  )
}

/** Converted through JSON, so that a hash of it covers what will be read. */
export function jsonOf(details: object): Record<string, unknown> {
  const text = JSON.stringify(details, (_, value: unknown) =>
    typeof value === 'string' ? wellFormed(value) : value,
  )
  return JSON.parse(text) as Record<string, unknown>
}

/** Half a surrogate pair has no UTF-8 form: MongoDB would store something else. */
function wellFormed(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8')
}
