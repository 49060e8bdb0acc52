import { createHash, timingSafeEqual } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { Handle } from './driver.ts'
import { CKR_FUNCTION_FAILED } from '../wire/ckr-codes.ts'
import { CkrError, KeyFault } from '../wire/errors.ts'
import { gcmKey, scratch, unwrapDek, type GcmForm } from './gcm.ts'
import { proveEncrypts } from './encryption-proof.ts'
import { findOneKey } from './key-objects.ts'
import type { LoadRequest } from '../wire/messages.ts'
import type { LaneSession } from './session.ts'
import { asBuffer } from '../wire/packing.ts'
import { pauseThread } from './pause-thread.ts'

/** How often the canary must fail, while a nonce is wrapped and opened in between, before the key counts as a wrong key. */
const FIRM_TRIES = 4
/** The same when the code may mean throttling: with a share p of throttled calls the chance of an error is (p × (1 - p)²)^10. */
const AMBIGUOUS_TRIES = 10
const AMBIGUOUS_PAUSE_MS = 10

/** A KEK in a lane. `badTag` is the token's code for a wrong tag, learned from the canary. */
export interface LaneKey {
  request: LoadRequest
  handle: Handle
  form: GcmForm
  badTag: number
}

/** Finds the key, proves that it encrypts, opens the canary, and learns the code for a wrong tag. Throws KeyFault. */
export function loadKey(session: LaneSession, request: LoadRequest): LaneKey {
  return asKeyFault(request.version, () => loadKeyOnce(session, request))
}

/** Opens the canary and wraps and unwraps a nonce. Throws KeyFault. */
export function proveKey(session: LaneSession, key: LaneKey): void {
  asKeyFault(key.request.version, () => {
    openCanaryFirm(session, key)
    key.form = proveEncrypts(session, key.handle, key.request, key.form)
  })
}

/**
 * Opens the canary and compares its digest. A key that fails, but opens what it has just wrapped, is another key under our
 * label: throws a KeyFault wrong-key. If that fails too, the token is at fault: throws its CkrError.
 */
export function openCanary(session: LaneSession, key: LaneKey): void {
  asKeyFault(key.request.version, () => openCanaryFirm(session, key))
}

/** The same in one attempt: throws the CkrError of a throttling token. */
export function openCanaryAtOnce(session: LaneSession, key: LaneKey): void {
  asKeyFault(key.request.version, () => {
    let opened: Buffer
    try {
      opened = openCanaryOnce(session, key)
    } catch (error) {
      session.replace()
      throw error
    }
    const isRight = digestOf(opened).equals(key.request.canary.digest)
    scratch.canary.fill(0)
    if (!isRight) throw wrongKey(key.request.version)
  })
}

function asKeyFault<T>(version: number, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw error instanceof KeyturnError ? new KeyFault(version, error) : error
  }
}

function loadKeyOnce(session: LaneSession, request: LoadRequest): LaneKey {
  const id = request.keyId === null ? null : asBuffer(request.keyId)
  const handle = session.found(() => findOneKey(session, request.label, id))
  const form = proveEncrypts(session, handle, request)
  const key: LaneKey = { request, handle, form, badTag: 0 }
  openCanaryFirm(session, key)
  key.badTag = learnBadTag(session, key)
  return key
}

function openCanaryFirm(session: LaneSession, key: LaneKey): void {
  const { canary, version } = key.request
  for (let tries = 1; ; tries++) {
    try {
      const opened = openCanaryOnce(session, key)
      const digest = digestOf(opened)
      scratch.canary.fill(0)
      if (timingSafeEqual(digest, canary.digest)) return
      throw wrongKey(version)
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
      session.replace()
      const throttled = error.ckr === CKR_FUNCTION_FAILED
      if (!throttled && error.fault !== 'data' && error.fault !== 'never') throw error
      proveEncrypts(session, key.handle, key.request, key.form)
      if (tries >= (throttled ? AMBIGUOUS_TRIES : FIRM_TRIES)) throw wrongKey(version)
      if (throttled) pauseThread(AMBIGUOUS_PAUSE_MS)
    }
  }
}

function digestOf(opened: Buffer): Buffer {
  return createHash('sha256').update(opened).digest()
}

function openCanaryOnce(session: LaneSession, key: LaneKey): Buffer {
  const { canary, canaryAad, gcm } = key.request
  const sealed = { iv: asBuffer(canary.dekIv), wrapped: asBuffer(canary.dekWrapped) }
  const from = gcmKey(session, { ...key, gcm })
  return session.crypt(() => unwrapDek(from, sealed, asBuffer(canaryAad), scratch.canary))
}

/**
 * The token's code for a wrong tag. A code that may mean throttling counts only if it comes ten times in a row while the
 * canary itself opens at once each time. If the token throttles meanwhile, throws its CkrError: the pool retries later.
 */
function learnBadTag(session: LaneSession, key: LaneKey): number {
  const wrapped = Buffer.from(key.request.canary.dekWrapped)
  wrapped[wrapped.length - 1] = (wrapped.at(-1) ?? 0) ^ 1
  const tampered: LaneKey = {
    ...key,
    request: { ...key.request, canary: { ...key.request.canary, dekWrapped: wrapped } },
  }
  for (let tries = 1; ; tries++) {
    try {
      openCanaryOnce(session, tampered)
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
      session.replace()
      if (error.fault === 'data') return error.ckr
      if (error.fault !== 'back-off' && error.fault !== 'never') throw error
      openCanaryAtOnce(session, key)
      if (tries === AMBIGUOUS_TRIES) return error.ckr
      continue
    }
    scratch.canary.fill(0)
    throw new KeyturnError('token-not-usable', 'the token opened a canary whose tag was changed')
  }
}

function wrongKey(version: number): KeyturnError {
  return new KeyturnError('wrong-key', `the key of version ${version} does not open its canary`, {
    hint: 'this token holds another key under the same label: point it at the shared HSM',
  })
}
