import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { chainAuditFirst, waitingAudit, type Waiting } from '../../store/audit-chain.ts'
import { listAudit, verifyAudit, type AuditVerdict } from '../../store/kek-audit.ts'
import { withKeystore } from '../keystore.ts'

export interface AuditView {
  /** Null for an entry without a number, which Keyturn did not write. */
  sequence: number | null
  at: string
  actor: AuditActor
  action: string
  subject: string
  details: Record<string, unknown>
  hash: string
}

export interface AuditActor {
  user: string
  /** Null where the entry names none: a policy has no host. */
  host: string | null
  /**
   * True: the requester as the request names it, unverified; the worker that acted is in `details.worker`. False for an action
   * that a worker took without a request.
   */
  claimed: boolean
}

/** The newest entries of the record, in the order in which they were written; all where `limit` is null. */
export async function readAudit(
  config: Config,
  limit: number | null,
): Promise<{ entries: AuditView[] }> {
  return withKeystore(config, async ({ store }) => {
    await chainAuditFirst(store)
    const rows = await listAudit(store, limit ?? undefined)
    const entries = rows.map(({ _id, at, actor, action, subject, details, hash }) => ({
      sequence: _id,
      at: at.toISOString(),
      actor: actorOf(actor, details),
      action,
      subject,
      details,
      hash,
    }))
    return { entries }
  })
}

/** An entry's actor is `USER@HOST`, or a name alone. */
export function actorOf(actor: string, details: Record<string, unknown>): AuditActor {
  const at = actor.lastIndexOf('@')
  const [user, host] = at < 0 ? [actor, null] : [actor.slice(0, at), actor.slice(at + 1)]
  return { user, host, claimed: details['claimed'] !== false }
}

/** The shape of `audit verify --json`. */
export interface AuditCheck extends AuditVerdict {
  /** Entries that are recorded and not chained yet. */
  waiting: number
}

/**
 * Walks the hash chain from its first entry. The error is audit-broken when an entry does not follow from its predecessor, or
 * waits to be chained for more than a minute.
 */
export async function checkAudit(
  config: Config,
): Promise<{ verdict: AuditCheck; error: KeyturnError | null }> {
  return withKeystore(config, async ({ store }) => {
    await chainAuditFirst(store)
    const chain = await verifyAudit(store)
    const waiting = await waitingAudit(store)
    const error = chainError(chain) ?? waitingError(waiting)
    return { verdict: { ...chain, ok: error === null, waiting: waiting.entries }, error }
  })
}

function chainError({ ok, brokenAt }: AuditVerdict): KeyturnError | null {
  if (ok) return null
  const broken = `the record is broken at entry "${brokenAt ?? 'unknown'}"`
  const hint = 'an entry was changed or taken out: compare with a backup of kek_audit'
  return new KeyturnError('audit-broken', broken, { hint })
}

function waitingError({ overdue }: Waiting): KeyturnError | null {
  if (overdue === 0) return null
  const late = `entries that wait to be chained for more than a minute, or are malformed: "${overdue}"`
  const hint = 'workers chain them with each heartbeat: look at their logs, and at kek_audit_outbox'
  return new KeyturnError('audit-broken', late, { hint })
}
