import { createHash, randomBytes } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { Canary, GcmProfile } from '../../../contracts/kek.ts'
import { CkrError } from '../wire/errors.ts'
import { DEK_BYTES, formsOf, gcmKey, scratch, unwrapDek, waysToOpen, wrapDek } from './gcm.ts'
import {
  deleteKey,
  destroyKey,
  historyWarnings,
  findKeys,
  findOneKey,
  generateKey,
  keyIdOf,
  requireAttributes,
  requireNamed,
} from './key-objects.ts'
import { loadKey } from './loaded-keys.ts'
import type { CanaryProof, DestroyReply, GenerateReply, LaneRequest } from '../wire/messages.ts'
import type { LaneSession } from './session.ts'
import { asBuffer } from '../wire/packing.ts'
import { pauseThread } from './pause-thread.ts'

/** Tries on a token with one code for a wrong tag and throttling, before the code counts as a wrong tag. */
const THROTTLED_TRIES = 10
const THROTTLED_PAUSE_MS = 20

/** Length of Keyturn's CKA_ID in bytes: the first bytes of the keystore's id, then random bytes. */
const KEY_ID_BYTES = 16

/**
 * Makes the key with this label and id and verifies its attributes. A key that an earlier attempt made (same label and id)
 * is used. Throws key-exists for another key with this label, which is never overwritten or reused. Keys that a copy of the
 * keystore made have the same labels, but ids that do not start with `keystore`: they are ignored.
 */
export function generate(
  session: LaneSession,
  label: string,
  { keyId, keystore }: { keyId: Buffer; keystore: Buffer | null },
): GenerateReply {
  const all = findKeys(session, label, null)
  const ours = findKeys(session, label, keyId)
  const near = all.filter((key) => !isOfCopy(keyIdOf(session, key), keystore))
  if (near.length > ours.length || ours.length > 1) {
    throw new KeyturnError('key-exists', `the token already has a key "${label}"`, {
      hint: 'if an administrator made it for this version: keyturn pkcs11-register',
    })
  }
  const key = ours[0] ?? generateKey(session, label, keyId, true)
  try {
    requireAttributes(session, key, label)
    requireNamed(session, key, label, keyId)
  } catch (error) {
    // A new key with wrong attributes is destroyed; a key that existed before is not. If the token only failed to answer,
    // the next attempt finds the key by its id.
    const isWrong = error instanceof KeyturnError && error.code === 'key-attributes'
    if (ours.length === 0 && isWrong) deleteKey(session, key, label, keyId)
    throw error
  }
  return { made: ours.length === 0 }
}

/** Whether the id has the length of Keyturn's ids and starts with another keystore's id. An administrator's id is usually shorter. */
function isOfCopy(found: Buffer | null, keystore: Buffer | null): boolean {
  if (keystore === null || found === null || found.length !== KEY_ID_BYTES) return false
  return !found.subarray(0, keystore.length).equals(keystore)
}

/** The one key of this label, with verified attributes, and warnings about its history. Throws key-not-found, key-ambiguous, key-attributes. */
export function find(
  session: LaneSession,
  label: string,
  keyId: Buffer | null,
): { keyId: Buffer | null; warnings: string[] } {
  const key = findOneKey(session, label, keyId)
  requireAttributes(session, key, label)
  const warnings = historyWarnings(session, key).map(
    (attribute) =>
      `key "${label}" has ${attribute}: it was imported, or could once leave the token`,
  )
  return { keyId: keyIdOf(session, key), warnings }
}

/**
 * Destroys the one key with exactly this label and id and verifies that it is gone. `destroyed` false: it did not exist.
 * With `proof` the key must open this canary first; otherwise throws wrong-key and keeps the key.
 */
export function destroy(
  session: LaneSession,
  label: string,
  keyId: Buffer,
  proof: CanaryProof | null,
): DestroyReply {
  if (findKeys(session, label, keyId).length === 0) return { destroyed: false }
  if (proof !== null) loadKey(session, { op: 'load', label, keyId, ...proof })
  destroyKey(session, findOneKey(session, label, keyId), label, keyId)
  return { destroyed: true }
}

/** Wraps 32 random bytes and opens them again as each later `load` does; returns the canary. */
export function makeCanary(
  session: LaneSession,
  options: { label: string; keyId: Buffer | null; gcm: GcmProfile; canaryAad: Buffer },
): Canary {
  const { label, keyId, gcm, canaryAad } = options
  const handle = findOneKey(session, label, keyId)
  const secret = randomBytes(DEK_BYTES)
  const digest = createHash('sha256').update(secret).digest()
  let refusal: unknown
  for (const form of formsOf(gcm.ivMode)) {
    try {
      const to = gcmKey(session, { handle, form, gcm })
      const { iv, wrapped } = session.crypt(() => wrapDek(to, secret, canaryAad))
      const canary: Canary = { dekIv: iv, dekWrapped: wrapped, digest }
      loadKey(session, { op: 'load', version: 0, ...options, canary })
      secret.fill(0)
      return canary
    } catch (error) {
      refusal = error
      session.replace()
    }
  }
  throw refusal
}

/** Whether the key opens another version's canary in any way; throws when the token is at fault. */
export function opensCanary(
  session: LaneSession,
  request: LaneRequest & { op: 'opens-canary'; keyId: Buffer | null },
): boolean {
  const { label, keyId, gcm, canary, canaryAad } = request
  const handle = session.found(() => findOneKey(session, label, keyId))
  const sealed = { iv: asBuffer(canary.dekIv), wrapped: asBuffer(canary.dekWrapped) }
  const opens = (way: (typeof waysToOpen)[number]): boolean => {
    const { mode, form } = way
    for (let tries = 1; ; tries++) {
      const from = { ...gcmKey(session, { handle, form, gcm }), mode }
      try {
        session.crypt(() => unwrapDek(from, sealed, asBuffer(canaryAad), scratch.canary))
        return true
      } catch (error) {
        if (!(error instanceof CkrError)) throw error
        session.replace()
        if (error.fault === 'data' || error.fault === 'never') return false
        if (error.fault !== 'back-off') throw error
        if (tries === THROTTLED_TRIES) return false
        pauseThread(THROTTLED_PAUSE_MS)
      } finally {
        scratch.canary.fill(0)
      }
    }
  }
  return waysToOpen.some(opens)
}
