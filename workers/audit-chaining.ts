import { KeyturnError } from '../contracts/errors.ts'
import type { Log } from '../observability/log.ts'
import { closeExpiredRequests } from '../store/approval-requests.ts'
import { chainAudit } from '../store/audit-chain.ts'
import { asStoreError } from '../store/store-errors.ts'
import type { Store } from '../store/store.ts'
import type { AuditAnchors } from './audit-anchoring.ts'
import type { KeystoreState } from './keystore-look.ts'

export interface AuditChaining {
  readonly store: Store
  readonly log: Log
  /** False while this process sees an older keystore than before: its chain is not the newest. */
  readonly mayChain: () => boolean
  readonly anchors: AuditAnchors
  readonly node: string
}

/**
 * `look`, and after it, if the keystore is this process's own: requests for approvals whose time is over are closed, the
 * audit's waiting entries are chained, and their head is kept. Never throws for it.
 */
export function chainingAudit(
  look: () => Promise<KeystoreState>,
  { store, log, mayChain, anchors, node }: AuditChaining,
): () => Promise<KeystoreState> {
  let logged: string | null = null
  return async () => {
    const state = await look()
    if (state.install === null || !mayChain()) return state
    try {
      await closeExpiredRequests(store, node)
      await chainAudit(store)
      anchors.keep(state.install)
      logged = null
    } catch (error) {
      const failure = asStoreError(error)
      if (!(failure instanceof KeyturnError)) throw error
      const { code, message, hint } = failure
      if (message !== logged) log.warn({ code, hint }, `the audit is not chained: ${message}`)
      logged = message
    }
    return state
  }
}
