import { chainAuditFirst } from '../../store/audit-chain.ts'
import { listAudit, type ListedEntry } from '../../store/kek-audit.ts'
import type { Store } from '../../store/store.ts'

/** All entries in order, also those that no worker has chained yet. */
export async function chainedAudit(store: Store): Promise<ListedEntry[]> {
  await chainAuditFirst(store)
  return await listAudit(store)
}
