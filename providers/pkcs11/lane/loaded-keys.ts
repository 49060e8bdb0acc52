import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { GcmProfile, IvMode } from '../../../contracts/kek.ts'
import type { Handle } from './driver.ts'
import {
  CKR_ACTION_PROHIBITED,
  CKR_ARGUMENTS_BAD,
  CKR_DATA_INVALID,
  CKR_DATA_LEN_RANGE,
  CKR_FUNCTION_FAILED,
  CKR_KEY_FUNCTION_NOT_PERMITTED,
  CKR_KEY_SIZE_RANGE,
  CKR_KEY_TYPE_INCONSISTENT,
  CKR_MECHANISM_INVALID,
  CKR_MECHANISM_PARAM_INVALID,
} from '../wire/ckr-codes.ts'
import { CkrError, KeyFault, TokenTrouble } from '../wire/errors.ts'
import { modesToTry } from '../wire/iv-modes.ts'
import {
  DEK_BYTES,
  formsOf,
  profileOf,
  scratch,
  unwrapDek,
  waysOf,
  wrapDek,
  type GcmForm,
  type GcmKey,
} from './gcm.ts'
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

/** Errors of a wrap that are about the key or its permitted uses. */
const aboutKeys: ReadonlySet<number> = new Set([
  CKR_ARGUMENTS_BAD,
  CKR_ACTION_PROHIBITED,
  CKR_DATA_INVALID,
  CKR_DATA_LEN_RANGE,
  CKR_KEY_SIZE_RANGE,
  CKR_KEY_TYPE_INCONSISTENT,
  CKR_KEY_FUNCTION_NOT_PERMITTED,
  CKR_MECHANISM_INVALID,
  CKR_MECHANISM_PARAM_INVALID,
])

/** A KEK in a lane. `badTag` is the token's code for a wrong tag, learned from the canary. */
export interface LaneKey {
  request: LoadRequest
  handle: Handle
  form: GcmForm
  badTag: number
}

/** A key ready for a call in the lane's present session. */
export function gcmKey(
  session: LaneSession,
  key: { handle: Handle; form: GcmForm; gcm: GcmProfile },
): GcmKey {
  return {
    cryptoki: session.cryptoki,
    session: session.handle,
    key: key.handle,
    mode: key.gcm.ivMode,
    form: key.form,
  }
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
  const handle = session.found(() => findOneKey(asSession(session), request.label, id))
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
 * Wraps and unwraps a nonce in the first form that works, `known` first. All forms are tried, since tokens differ in their
 * codes for a wrong form. If no form works, throws the first error that is about the token, else cannot-encrypt.
 */
function proveEncrypts(
  session: LaneSession,
  handle: Handle,
  request: LoadRequest,
  known?: GcmForm,
): GcmForm {
  const { gcm, label } = request
  const refusals: CkrError[] = []
  const forms = formsOf(gcm.ivMode)
  for (const form of known === undefined ? forms : [known, ...forms.filter((f) => f !== known)]) {
    try {
      roundTrip(session, { handle, form, gcm })
      return form
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
      refusals.push(error)
      session.replace()
      if (error.fault !== 'never' && error.fault !== 'data') throw error
    }
  }
  const last = refusals.at(-1)
  const now = last === undefined ? null : otherMode(session, handle, gcm.ivMode, last)
  if (now !== null) throw modeChanged(label, gcm.ivMode, now)
  const tokens = refusals.find(({ ckr }) => !aboutKeys.has(ckr))
  if (tokens !== undefined) throw new TokenTrouble(tokens)
  throw new KeyturnError(
    'cannot-encrypt',
    `key "${label}" cannot encrypt: ${last?.message ?? ''}`,
    {
      hint: 'look at its CKA_ENCRYPT and at the token’s policy; a key that cannot encrypt cannot be a KEK',
    },
  )
}

/** The IV mode that the token uses now, if it is not the one that the version was installed with; else null. */
function otherMode(
  session: LaneSession,
  handle: Handle,
  installed: IvMode,
  refusal: CkrError,
): IvMode | null {
  if (refusal.ckr === CKR_KEY_FUNCTION_NOT_PERMITTED) return null
  for (const { mode, form } of waysOf(modesToTry('auto').filter((each) => each !== installed))) {
    try {
      roundTrip(session, { handle, form, gcm: profileOf(mode, 0) })
      return mode
    } catch (error) {
      if (error instanceof CkrError) session.replace()
      else if (!(error instanceof KeyturnError)) throw error
    }
  }
  return null
}

function modeChanged(label: string, installed: IvMode, now: IvMode): KeyturnError {
  return new KeyturnError(
    'cannot-encrypt',
    `key "${label}" was installed with IV mode "${installed}", and the token does "${now}" now`,
    {
      hint: 'was it switched to FIPS mode or out of it? a version keeps the mode it was installed with: switch it back',
    },
  )
}

/** Wraps a random nonce and opens it again; throws when it comes back changed. */
export function roundTrip(
  session: LaneSession,
  key: { handle: Handle; form: GcmForm; gcm: GcmProfile },
): { iv: Buffer; wrapped: Buffer } {
  const nonce = randomBytes(DEK_BYTES)
  const aad = randomBytes(32)
  const gcm = gcmKey(session, key)
  const sealed = session.crypt(() => wrapDek(gcm, nonce, aad))
  const opened = session.crypt(() => unwrapDek(gcm, sealed, aad, scratch.canary))
  if (opened.equals(nonce)) return sealed
  throw new KeyturnError('hsm-failed', 'the token opened a nonce to other bytes than were wrapped')
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

export function asSession(session: LaneSession): {
  cryptoki: LaneSession['cryptoki']
  handle: Handle
} {
  return { cryptoki: session.cryptoki, handle: session.handle }
}

function wrongKey(version: number): KeyturnError {
  return new KeyturnError('wrong-key', `the key of version ${version} does not open its canary`, {
    hint: 'this token holds another key under the same label: point it at the shared HSM',
  })
}
