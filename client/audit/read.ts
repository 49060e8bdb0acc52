import type { Config } from '../../contracts/settings.ts'
import { chainAuditFirst } from '../../store/audit-chain.ts'
import { listAudit, type AuditFilter } from '../../store/kek-audit.ts'
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

/** The newest entries of the record that match, in the order in which they were written; all without a limit. */
export async function readAudit(
  config: Config,
  filter: AuditFilter = {},
): Promise<{ entries: AuditView[] }> {
  return withKeystore(config, async ({ store }) => {
    await chainAuditFirst(store)
    const rows = await listAudit(store, filter)
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
