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
 * How each mode calls C_Encrypt, and where its IV is then. `given` is the length of pIv (0 is NULL: the module makes
 * the IV by itself), `fill` what is in it, `found` where the IV that counts stands afterwards.
 * A length-0 IV that means "no IV at all" (SoftHSM2 accepts it) is sent in the output modes only, whose output is then
 * longer than ciphertext and tag; one that is not is refused.
 */
const modes: Record<IvMode, { given: number; fill: 'random' | 'zero'; found: IvPlace }> = {
  caller: { given: IV_BYTES, fill: 'random', found: 'parameter' },
  'hsm-writes-iv': { given: IV_BYTES, fill: 'zero', found: 'parameter' }, // AWS CloudHSM, CKM_AES_GCM
  'output-prefix': { given: 0, fill: 'zero', found: 'prefix' }, // AWS CloudHSM's vendor mechanism
  'output-suffix': { given: 0, fill: 'zero', found: 'suffix' }, // Thales Luna in FIPS mode, ProtectServer
}

/**
 * Details that a token leaves open and the first use finds out: the ulIvBits it accepts when it writes the IV itself,
 * and whether a decrypt under an output mode takes the IV as parameter (`apart`) or in one piece with the data.
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
 * Modes with their forms in the order in which a probe tries them. Those that decrypt `joined` come last: a prefix that is
 * cut off and put back has the bytes of a suffix, so that they open whichever of the two the token does.
 */
export function waysOf(tried: readonly IvMode[]): { mode: IvMode; form: GcmForm }[] {
  const all = tried.flatMap((mode) => formsOf(mode).map((form) => ({ mode, form })))
  const isJoined = ({ form }: { form: GcmForm }): boolean => form.decrypts === 'joined'
  return [...all.filter((way) => !isJoined(way)), ...all.filter(isJoined)]
}

/**
 * Every way to give a token an IV and what was wrapped under it, for bytes that another token, or this one in another mode,
 * may have made.
 */
export const waysToOpen: readonly { mode: IvMode; form: GcmForm }[] = [
  { mode: 'caller', form: { ivBits: 'length', decrypts: 'apart' } },
  { mode: 'output-prefix', form: { ivBits: 'length', decrypts: 'joined' } },
  { mode: 'output-suffix', form: { ivBits: 'length', decrypts: 'joined' } },
]

/** One key in one session, with memory of its own for the calls. Not for two threads. */
export interface GcmKey {
  cryptoki: Cryptoki
  session: Handle
  key: Handle
  mode: IvMode
  form: GcmForm
}

const roomy = WRAPPED_BYTES + LONGEST_IV + 64

/**
 * Memory that holds plaintext of one lane: `opened`, `kept` (a second copy, to tell that the first was not touched) and
 * `again` are the DEK of the item in hand, overwritten by `wipe` after each batch; `canary` is for canaries and nonces,
 * which may be asked for in the middle of an item and must never touch its DEK.
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

/** What C_Encrypt did with pIv and what it answered, before anybody reads an IV out of it. */
export interface RawWrap {
  /** What pIv held before and after; both empty where it was NULL. */
  given: Buffer
  after: Buffer
  output: Buffer
}

/** One C_Encrypt as a mode calls it. All Buffers of the answer are new. */
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

/** The IV and what it belongs to, as a mode reads them; null where the token does not keep to the mode. */
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

/** Wraps 32 bytes. Both Buffers of the answer are new. Throws iv-mode-refused when the token does not keep to its mode. */
export function wrapDek(to: GcmKey, dek: Buffer, aad: Buffer): { iv: Buffer; wrapped: Buffer } {
  const read = readAs(to.mode, rawWrap(to, dek, aad))
  if (read === null) throw broken(to.mode)
  return read
}

/** Opens 48 bytes into `into`; the answer is a view of it. Any failure is the module's CkrError. */
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
