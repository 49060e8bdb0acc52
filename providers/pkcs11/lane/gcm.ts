import { randomFillSync } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { GcmProfile, IvMode } from '../../../contracts/kek.ts'
import { decrypt, encrypt, type Cryptoki, type Handle } from './driver.ts'

export const DEK_BYTES = 32
export const TAG_BYTES = 16
export const WRAPPED_BYTES = DEK_BYTES + TAG_BYTES
const IV_BYTES = 12
const LONGEST_IV = 16

export type IvPlace = 'parameter' | 'prefix' | 'suffix'

/**
 * How each mode calls C_Encrypt, and where the IV is afterwards. `given` is the length of pIv (0 is NULL: the module makes
 * the IV), `fill` its content, `found` the place of the IV that was used.
 * SoftHSM2 accepts a length-0 IV as "no IV at all". Only the output modes send one, and their output must be longer than
 * ciphertext and tag; a shorter one is refused.
 */
const modes: Record<IvMode, { given: number; fill: 'random' | 'zero'; found: IvPlace }> = {
  caller: { given: IV_BYTES, fill: 'random', found: 'parameter' },
  'hsm-writes-iv': { given: IV_BYTES, fill: 'zero', found: 'parameter' }, // AWS CloudHSM, CKM_AES_GCM
  'output-prefix': { given: 0, fill: 'zero', found: 'prefix' }, // AWS CloudHSM's vendor mechanism
  'output-suffix': { given: 0, fill: 'zero', found: 'suffix' }, // Thales Luna in FIPS mode, ProtectServer
}

/**
 * Details that differ between tokens of one mode and are found at the first use: the ulIvBits that the token accepts when it
 * writes the IV, and whether decryption in an output mode takes the IV as a parameter (`apart`) or joined to the data.
 */
export interface GcmForm {
  ivBits: 'length' | 'zero'
  decrypts: 'apart' | 'joined'
}

export function formsOf(mode: IvMode): GcmForm[] {
  if (mode === 'caller') return [{ ivBits: 'length', decrypts: 'apart' }]
  if (mode === 'hsm-writes-iv') {
    return [
      { ivBits: 'length', decrypts: 'apart' },
      { ivBits: 'zero', decrypts: 'apart' },
    ]
  }
  return [
    { ivBits: 'length', decrypts: 'apart' },
    { ivBits: 'length', decrypts: 'joined' },
  ]
}

/**
 * Modes with their forms in the order in which a probe tries them. Forms that decrypt `joined` come last: they open
 * whether the token uses a prefix or a suffix, since what was cut off is put back in the same place.
 */
export function waysOf(tried: readonly IvMode[]): { mode: IvMode; form: GcmForm }[] {
  const all = tried.flatMap((mode) => formsOf(mode).map((form) => ({ mode, form })))
  const isJoined = ({ form }: { form: GcmForm }): boolean => form.decrypts === 'joined'
  return [...all.filter((way) => !isJoined(way)), ...all.filter(isJoined)]
}

/**
 * Every way to pass an IV and its wrapped bytes to a token, for bytes that another token, or this one in another mode, may
 * have made.
 */
export const waysToOpen: readonly { mode: IvMode; form: GcmForm }[] = [
  { mode: 'caller', form: { ivBits: 'length', decrypts: 'apart' } },
  { mode: 'output-prefix', form: { ivBits: 'length', decrypts: 'joined' } },
  { mode: 'output-suffix', form: { ivBits: 'length', decrypts: 'joined' } },
]

/** One key in one session. Not for use by two threads. */
export interface GcmKey {
  cryptoki: Cryptoki
  session: Handle
  key: Handle
  mode: IvMode
  form: GcmForm
}

/** A key ready for a call in the lane's present session. */
export function gcmKey(
  session: { cryptoki: Cryptoki; handle: Handle },
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

const roomy = WRAPPED_BYTES + LONGEST_IV + 64

/**
 * The memory for plaintext of one lane. `opened`, `kept` (a second copy, to detect a change of the first) and `again` hold
 * the DEK of the current item; `wipe` overwrites them after each batch. `canary` is for canaries and nonces, which may be
 * needed in the middle of an item and must not overwrite its DEK.
 */
export const scratch = {
  opened: Buffer.alloc(roomy),
  again: Buffer.alloc(roomy),
  kept: Buffer.alloc(DEK_BYTES),
  canary: Buffer.alloc(roomy),
  wipe(): void {
    scratch.opened.fill(0)
    scratch.again.fill(0)
    scratch.kept.fill(0)
  },
}

/** What C_Encrypt did with pIv and what it returned, before the IV is read from it. */
export interface RawWrap {
  /** The content of pIv before and after; both empty if it was NULL. */
  given: Buffer
  after: Buffer
  output: Buffer
}

/** One C_Encrypt in the key's mode. All Buffers of the result are new. */
export function rawWrap(to: GcmKey, dek: Buffer, aad: Buffer): RawWrap {
  const { given: length, fill } = modes[to.mode]
  const after = Buffer.alloc(length)
  if (fill === 'random') randomFillSync(after)
  const given = Buffer.from(after)
  const ivBits = to.form.ivBits === 'zero' ? 0 : length * 8
  const room = Buffer.allocUnsafe(WRAPPED_BYTES + LONGEST_IV + 32)
  const gcm = { key: to.key, iv: after, ivBits, aad }
  const output = encrypt(to.cryptoki, to.session, gcm, dek, room)
  return { given, after, output }
}

/** The IV and the wrapped bytes, read in a mode; null when the output does not fit the mode. */
export function readAs(mode: IvMode, raw: RawWrap): { iv: Buffer; wrapped: Buffer } | null {
  const { fill, found } = modes[mode]
  const { given, after, output } = raw
  const ivLength = output.length - WRAPPED_BYTES
  if (found === 'parameter') {
    const kept = fill === 'zero' ? after.some((byte) => byte !== 0) : after.equals(given)
    return ivLength === 0 && kept ? { iv: after, wrapped: output } : null
  }
  if (ivLength !== 12 && ivLength !== 16) return null
  return found === 'prefix'
    ? { iv: output.subarray(0, ivLength), wrapped: output.subarray(ivLength) }
    : { iv: output.subarray(WRAPPED_BYTES), wrapped: output.subarray(0, WRAPPED_BYTES) }
}

/** Wraps 32 bytes. Both Buffers of the result are new. Throws iv-mode-refused when the output does not fit the mode. */
export function wrapDek(to: GcmKey, dek: Buffer, aad: Buffer): { iv: Buffer; wrapped: Buffer } {
  const read = readAs(to.mode, rawWrap(to, dek, aad))
  if (read === null) throw broken(to.mode)
  return read
}

/** Opens 48 bytes into `into`; the result is a view of it. Throws the module's CkrError. */
export function unwrapDek(
  from: GcmKey,
  sealed: { iv: Buffer; wrapped: Buffer },
  aad: Buffer,
  into: Buffer,
): Buffer {
  const { cryptoki, session, key } = from
  if (from.form.decrypts === 'apart') {
    const gcm = { key, iv: sealed.iv, ivBits: sealed.iv.length * 8, aad }
    return decrypt(cryptoki, session, gcm, sealed.wrapped, into)
  }
  const { found } = modes[from.mode]
  const parts = found === 'prefix' ? [sealed.iv, sealed.wrapped] : [sealed.wrapped, sealed.iv]
  const gcm = { key, iv: Buffer.alloc(0), ivBits: 0, aad }
  return decrypt(cryptoki, session, gcm, Buffer.concat(parts), into)
}

export function profileOf(mode: IvMode, ivLength: number): GcmProfile {
  return { ivMode: mode, ivLength, tagBits: 128 }
}

function broken(mode: IvMode): KeyturnError {
  return new KeyturnError('iv-mode-refused', `the token does not keep to IV mode "${mode}"`, {
    hint: 'probe it again (pkcs11-init --probe-only): its firmware or FIPS mode may have changed',
  })
}
