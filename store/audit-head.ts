import canonicalize from 'canonicalize'
import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import type { AuditHead, SignedHead } from '../contracts/audit.ts'
import { genesis, numbered } from './audit-hash.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'

/** Heads of the audit's chain. One that is kept outside proves that nothing before it was changed or cut off. */

/** The head of the chain. `install` is the keystore's id. Entries still in the outbox are not included. */
export async function readHead(store: Store, install: string): Promise<AuditHead> {
  const at = await serverNow(store)
  const last = await keystore.audit(store).findOne(numbered, { sort: { _id: -1 } })
  return {
    type: 'keyturn-head/1',
    install,
    entries: last?._id ?? 0,
    head: last?.hash ?? genesis,
    at: at.toISOString(),
  }
}

/** Whether the chain has this hash, at this entry if given. Says nothing about a chain that is broken. */
export async function holdsHead(
  store: Store,
  { head, entries }: { head: string; entries?: number },
): Promise<boolean> {
  if (head === genesis) return (entries ?? 0) === 0
  const place = entries === undefined ? {} : { _id: entries }
  const row = await keystore.audit(store).findOne({ ...place, hash: head })
  return row !== null
}

/** `key` null: unsigned. */
export function signedHead(head: AuditHead, key: KeyObject | null): SignedHead {
  if (key === null) return { ...head, signature: null, key: null }
  const signature = sign(null, signedBytes(head), key).toString('base64')
  return { ...head, signature, key: publicPem(key) }
}

/** The public half, PEM (SPKI). */
export function publicPem(key: KeyObject): string {
  const half = key.type === 'public' ? key : createPublicKey(key)
  return half.export({ type: 'spki', format: 'pem' }) as string
}

/**
 * What is wrong with a head that was kept outside, as a predicate; null if its signature is by one of `keys` (PEM) and over
 * exactly this head.
 */
export function headFault(
  { signature, key, ...head }: SignedHead,
  { install, keys }: { install: string; keys: readonly string[] },
): string | null {
  if (head.install !== install) return `is of keystore "${head.install}"`
  if (signature === null || key === null) return 'is not signed'
  if (!keys.includes(key)) return 'is signed by a key that is not recorded'
  return isSigned(head, key, signature) ? null : 'has a signature of another head'
}

/** False for a key that is no key: recorded keys can be edited. */
function isSigned(head: AuditHead, key: string, signature: string): boolean {
  try {
    return verify(null, signedBytes(head), key, Buffer.from(signature, 'base64'))
  } catch {
    return false
  }
}

function signedBytes({ type, install, entries, head, at }: AuditHead): Buffer {
  return Buffer.from(canonicalize({ type, install, entries, head, at }) ?? '', 'utf8')
}
