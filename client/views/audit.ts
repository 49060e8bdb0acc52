import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
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

/** Walks the hash chain from its first entry. The error is audit-broken when an entry does not follow from its predecessor. */
export async function checkAudit(
  config: Config,
): Promise<{ verdict: AuditVerdict; error: KeyturnError | null }> {
  return withKeystore(config, async ({ store }) => {
    const verdict = await verifyAudit(store)
    if (verdict.ok) return { verdict, error: null }
    const broken = `the record is broken at entry "${verdict.brokenAt ?? 'unknown'}"`
    const hint = 'an entry was changed or taken out: compare with a backup of kek_audit'
    return { verdict, error: new KeyturnError('audit-broken', broken, { hint }) }
  })
}
