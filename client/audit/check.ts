import { existsSync } from 'node:fs'
import { readSigningKey } from '../../config/signing-key.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { chainAuditFirst, waitingAudit, type Waiting } from '../../store/audit-chain.ts'
import { headFault, holdsHead, publicPem } from '../../store/audit-head.ts'
import { verifyAudit, type AuditVerdict } from '../../store/kek-audit.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { readHeads, type KeptHead } from './kept-heads.ts'

/** The shape of `audit verify --json`. */
export interface AuditCheck extends AuditVerdict {
  /** Entries that are recorded and not chained yet. */
  waiting: number
}

/** What a reader knows of the chain from elsewhere. */
export interface KnownHead {
  /** A hash in hex, or a file of signed heads, a JSON document a line. */
  head?: string
  /** The place of the hash; alone: the chain has at least as many entries. */
  entries?: number
}

/**
 * Walks the hash chain from its first entry. The error is audit-broken when an entry does not follow from its predecessor, or
 * waits to be chained for more than a minute; when the chain does not hold a known head; when a kept head is not signed by a
 * recorded key; and when this host's signing key is not recorded.
 */
export async function checkAudit(
  config: Config,
  known: KnownHead = {},
): Promise<{ verdict: AuditCheck; error: KeyturnError | null }> {
  const kept = keptHeads(known)
  return withKeystore(config, async (keystore) => {
    const { store } = keystore
    await chainAuditFirst(store)
    const chain = await verifyAudit(store)
    const waiting = await waitingAudit(store)
    const error =
      chainError(chain) ??
      lengthError(chain, known) ??
      signerError(config, keystore) ??
      (await headError(keystore, kept)) ??
      waitingError(waiting)
    return { verdict: { ...chain, ok: error === null, waiting: waiting.entries }, error }
  })
}

/** Throws `usage` for a head that is neither a hash nor a file of heads. */
function keptHeads({ head, entries }: KnownHead): KeptHead[] {
  if (head === undefined) return []
  if (/^[0-9a-f]{64}$/i.test(head)) {
    const place = entries === undefined ? {} : { entries }
    return [{ where: `head "${head.toLowerCase()}"`, head: head.toLowerCase(), ...place }]
  }
  if (existsSync(head)) return readHeads(head)
  throw new KeyturnError('usage', `a head is 64 hex digits, or a file of heads, not "${head}"`, {
    hint: 'keyturn audit head shows the head of now',
  })
}

function chainError({ ok, brokenAt }: AuditVerdict): KeyturnError | null {
  if (ok) return null
  const hint = 'an entry was changed or taken out: compare with a backup of kek_audit'
  return broken(`the record is broken at entry "${brokenAt ?? 'unknown'}"`, hint)
}

function lengthError({ entries }: AuditVerdict, known: KnownHead): KeyturnError | null {
  if (known.entries === undefined || entries >= known.entries) return null
  return broken(`the record has ${entries} entries, not "${known.entries}"`, cutHint)
}

/** A signer that was exchanged in the database is not the one of this host's file. */
function signerError({ audit }: Config, { install }: Keystore): KeyturnError | null {
  const key = audit.signingKey === undefined ? null : readSigningKey(audit.signingKey)
  if (key === null || install?.audit_keys?.includes(publicPem(key)) === true) return null
  const hint = 'if it is new: keyturn setup records it; else kek_install was edited'
  return broken(`the key in "${audit.signingKey ?? ''}" is not recorded as a signer`, hint)
}

async function headError(
  { store, install }: Keystore,
  kept: readonly KeptHead[],
): Promise<KeyturnError | null> {
  const recorded = { install: install?.id ?? '', keys: install?.audit_keys ?? [] }
  for (const { where, signed, ...place } of kept) {
    const fault = signed === undefined ? null : headFault(signed, recorded)
    if (fault !== null) return broken(`${where} ${fault}`, 'compare it with other copies of it')
    if (!(await holdsHead(store, place))) {
      const at = place.entries === undefined ? '' : ` at entry "${place.entries}"`
      return broken(`the record does not hold ${where}${at}`, cutHint)
    }
  }
  return null
}

function waitingError({ overdue }: Waiting): KeyturnError | null {
  if (overdue === 0) return null
  const late = `entries that wait to be chained for more than a minute, or are malformed: "${overdue}"`
  const hint = 'workers chain them with each heartbeat: look at their logs, and at kek_audit_outbox'
  return broken(late, hint)
}

const cutHint = 'entries were changed, or cut off at the end: compare with a backup of kek_audit'

function broken(message: string, hint: string): KeyturnError {
  return new KeyturnError('audit-broken', message, { hint })
}
