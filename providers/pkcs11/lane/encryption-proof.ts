import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { GcmProfile, IvMode } from '../../../contracts/kek.ts'
import * as ckr from '../wire/ckr-codes.ts'
import { CkrError, TokenTrouble } from '../wire/errors.ts'
import { modesToTry } from '../wire/iv-modes.ts'
import type { LoadRequest } from '../wire/messages.ts'
import type { Handle } from './driver.ts'
import {
  DEK_BYTES,
  formsOf,
  gcmKey,
  profileOf,
  scratch,
  unwrapDek,
  waysOf,
  wrapDek,
  type GcmForm,
} from './gcm.ts'
import type { LaneSession } from './session.ts'

/** Errors of a wrap that are about the key or its permitted uses. */
const aboutKeys: ReadonlySet<number> = new Set([
  ckr.CKR_ARGUMENTS_BAD,
  ckr.CKR_ACTION_PROHIBITED,
  ckr.CKR_DATA_INVALID,
  ckr.CKR_DATA_LEN_RANGE,
  ckr.CKR_KEY_SIZE_RANGE,
  ckr.CKR_KEY_TYPE_INCONSISTENT,
  ckr.CKR_KEY_FUNCTION_NOT_PERMITTED,
  ckr.CKR_MECHANISM_INVALID,
  ckr.CKR_MECHANISM_PARAM_INVALID,
])

/**
 * Wraps and unwraps a nonce in the first form that works, `known` first. All forms are tried, since tokens differ in their
 * codes for a wrong form. If no form works, throws the first error that is about the token, else cannot-encrypt.
 */
export function proveEncrypts(
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
  const tokens = refusals.find((refusal) => !aboutKeys.has(refusal.ckr))
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
  if (refusal.ckr === ckr.CKR_KEY_FUNCTION_NOT_PERMITTED) return null
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
