import { readSigningKey } from '../../config/signing-key.ts'
import type { SignedHead } from '../../contracts/audit.ts'
import { reasonOf } from '../../contracts/reasons.ts'
import type { Config } from '../../contracts/settings.ts'
import { chainAuditFirst } from '../../store/audit-chain.ts'
import { readHead, signedHead } from '../../store/audit-head.ts'
import type { Store } from '../../store/store.ts'
import { requireSetUp, withKeystore } from '../keystore.ts'

/** The head of the chain, signed with this host's `audit.signing_key`; unsigned without one. Throws setup-missing. */
export async function auditHead(config: Config): Promise<SignedHead> {
  return withKeystore(config, async (keystore) => {
    const { id } = requireSetUp(keystore, config)
    await chainAuditFirst(keystore.store)
    const { signingKey } = config.audit
    const key = signingKey === undefined ? null : readSigningKey(signingKey)
    return signedHead(await readHead(keystore.store, id), key)
  })
}

/**
 * Where the chain ends now, for the answer of a rotation that has ended. Null, and a warning to `note`, if it cannot be read: the
 * rotation's outcome counts.
 */
export async function headOrNote(
  store: Store,
  id: string,
  note: (line: string) => void,
): Promise<{ entries: number; head: string } | null> {
  try {
    await chainAuditFirst(store)
    const { entries, head } = await readHead(store, id)
    return { entries, head }
  } catch (error) {
    note(`warning: the head of the audit was not read: ${reasonOf(error)}; try keyturn audit head`)
    return null
  }
}
