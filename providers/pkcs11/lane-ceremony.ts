import { createHash, randomBytes } from 'node:crypto'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Canary, GcmProfile } from '../../contracts/kek.ts'
import { DEK_BYTES, formsOf, wrapDek } from './gcm.ts'
import {
  deleteKey,
  destroyKey,
  doubtsAbout,
  findKeys,
  findOneKey,
  generateKey,
  keyIdOf,
  requireAttributes,
  requireNamed,
} from './keys.ts'
import { asSession, gcmKey, loadKey } from './lane-keys.ts'
import type { LaneSession } from './lane-session.ts'

/**
 * Makes the key of this label and id and reads its attributes back. Our own earlier attempt is adopted; throws
 * key-exists for another key of this label, which is never overwritten or silently reused.
 */
export function generate(session: LaneSession, label: string, keyId: Buffer): { made: boolean } {
  const all = findKeys(asSession(session), label, null)
  const ours = findKeys(asSession(session), label, keyId)
  if (all.length > ours.length || ours.length > 1) {
    throw new KeyturnError('key-exists', `the token already has a key "${label}"`, {
      hint: 'if an administrator made it for this version: keyturn pkcs11-register',
    })
  }
  const key = ours[0] ?? generateKey(asSession(session), label, keyId, true)
  try {
    requireAttributes(asSession(session), key, label)
    requireNamed(asSession(session), key, label, keyId)
  } catch (error) {
    // A key that the token made otherwise than asked is good for nothing; one that was there is not ours to destroy. Where
    // the token only failed to answer, the next attempt finds the key by its id.
    const isOtherwise = error instanceof KeyturnError && error.code === 'key-attributes'
    if (ours.length === 0 && isOtherwise) deleteKey(asSession(session), key, label, keyId)
    throw error
  }
  return { made: ours.length === 0 }
}

/** The one key of this label, attributes verified, and what its history speaks against it. Throws key-not-found, key-ambiguous, key-attributes. */
export function find(
  session: LaneSession,
  label: string,
  keyId: Buffer | null,
): { keyId: Buffer | null; warnings: string[] } {
  const key = findOneKey(asSession(session), label, keyId)
  requireAttributes(asSession(session), key, label)
  const warnings = doubtsAbout(asSession(session), key).map(
    (attribute) =>
      `key "${label}" has ${attribute}: it was imported, or could once leave the token`,
  )
  return { keyId: keyIdOf(asSession(session), key), warnings }
}

/** Destroys the one key of exactly this label and id and sees that it is gone. `destroyed` false: it was gone before. */
export function destroy(
  session: LaneSession,
  label: string,
  keyId: Buffer,
): { destroyed: boolean } {
  if (findKeys(asSession(session), label, keyId).length === 0) return { destroyed: false }
  destroyKey(asSession(session), findOneKey(asSession(session), label, keyId), label, keyId)
  return { destroyed: true }
}

/** Wraps 32 random bytes, opens them again as every later `load` will, and answers what they were wrapped to. */
export function makeCanary(
  session: LaneSession,
  asked: { label: string; keyId: Buffer | null; gcm: GcmProfile; canaryAad: Buffer },
): Canary {
  const { label, keyId, gcm, canaryAad } = asked
  const handle = findOneKey(asSession(session), label, keyId)
  const secret = randomBytes(DEK_BYTES)
  const digest = createHash('sha256').update(secret).digest()
  let refusal: unknown
  for (const form of formsOf(gcm.ivMode)) {
    try {
      const to = gcmKey(session, { handle, form, gcm })
      const { iv, wrapped } = session.crypt(() => wrapDek(to, secret, canaryAad))
      const canary: Canary = { dekIv: iv, dekWrapped: wrapped, digest }
      loadKey(session, { op: 'load', version: 0, ...asked, canary })
      secret.fill(0)
      return canary
    } catch (error) {
      refusal = error
      session.replace()
    }
  }
  throw refusal
}
