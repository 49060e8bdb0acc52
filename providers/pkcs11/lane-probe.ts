import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../../contracts/errors.ts'
import type { GcmProfile, IvMode } from '../../contracts/kek.ts'
import { call, ck, type Handle } from './driver.ts'
import { CkrError } from './errors.ts'
import { formsOf, profileOf, scratch, unwrapDek, wrapDek, type GcmForm } from './gcm.ts'
import {
  deleteKey,
  destroyKey,
  findKeys,
  findOneKey,
  generateKey,
  isNamed,
  wrongAttributes,
} from './keys.ts'
import { asSession, gcmKey, roundTrip } from './lane-keys.ts'
import type { AeadReply } from './lane-messages.ts'
import type { LaneSession } from './lane-session.ts'

const CKF_ENCRYPT = 0x100
const CKF_DECRYPT = 0x200
const CKF_GENERATE = 0x8000
const AES_256 = [32, 256] // key sizes of AES mechanisms are in bytes; some modules say bits

/** Phase 1: what is missing of CKM_AES_KEY_GEN and CKM_AES_GCM, and in `detail` what there is. */
export function probeMechanisms(session: LaneSession): { missing: string[]; detail: string } {
  const { cryptoki, token } = session
  const list = call('C_GetMechanismList', () => cryptoki.C_GetMechanismList(token.slot))
  const missing: string[] = []
  const there: string[] = []
  const wanted = [
    ['CKM_AES_KEY_GEN', ck.CKM_AES_KEY_GEN, [['generate', CKF_GENERATE]]],
    [
      'CKM_AES_GCM',
      ck.CKM_AES_GCM,
      [
        ['encrypt', CKF_ENCRYPT],
        ['decrypt', CKF_DECRYPT],
      ],
    ],
  ] as const
  for (const [name, mechanism, flags] of wanted) {
    if (!list.includes(mechanism)) {
      missing.push(name)
      continue
    }
    const info = call('C_GetMechanismInfo', () =>
      cryptoki.C_GetMechanismInfo(token.slot, mechanism),
    )
    for (const [use, flag] of flags) {
      if ((info.flags & flag) === 0) missing.push(`${name} for ${use}`)
    }
    const { minKeySize: min, maxKeySize: max } = info
    if (max > 0 && !AES_256.some((size) => min <= size && size <= max)) {
      missing.push(`${name} with 256-bit keys`)
    }
    there.push(`${name} (key sizes ${min} to ${max})`)
  }
  return { missing, detail: there.join(', ') }
}

/** The throwaway key of a probe lives in a session of its own, so that it dies with this process at the latest. */
export class LaneProbe {
  readonly #session: LaneSession
  #keeper: Handle | null = null
  /** The throwaway key, to be destroyed even where the token does not find it by its name. */
  #made: Handle | null = null

  constructor(session: LaneSession) {
    this.#session = session
  }

  /** Phase 2: the throwaway key, its attributes read back. A token object only where the token wants no session key. */
  generate(label: string, keyId: Buffer): { wrong: string[]; detail: string } {
    const session = this.#session
    this.#keeper = session.another()
    let onToken = this.#keeper === null
    let key: Handle | undefined
    if (this.#keeper !== null) {
      const keeper = { cryptoki: session.cryptoki, handle: this.#keeper }
      try {
        key = generateKey(keeper, label, keyId, false)
      } catch (error) {
        if (!(error instanceof CkrError)) throw error
        onToken = true
      }
    }
    key ??= generateKey(asSession(session), label, keyId, true)
    this.#made = key
    const wrong = wrongAttributes(asSession(session), key, onToken)
    if (!isNamed(asSession(session), key, label, keyId)) wrong.push('CKA_LABEL and CKA_ID as given')
    const kind = onToken ? 'token' : 'session'
    return { wrong, detail: `AES-256 ${kind} key, sensitive and not extractable` }
  }

  /** Phase 3: the first mode and form in which wraps open again under different IVs and tampered ones do not. */
  aead(label: string, keyId: Buffer | null, modes: readonly IvMode[]): AeadReply {
    const handle = findOneKey(asSession(this.#session), label, keyId)
    const refusals: string[] = []
    let opened = false
    for (const mode of modes) {
      for (const form of formsOf(mode)) {
        try {
          return this.#tryMode(handle, mode, form)
        } catch (error) {
          if (!(error instanceof CkrError || error instanceof KeyturnError)) throw error
          if (error instanceof CkrError && error.fault === 'reconnect') throw error
          if (error instanceof CkrError) this.#session.replace()
          else opened ||= error.code === 'token-not-usable'
          refusals.push(`${mode}: ${error.message}`)
        } finally {
          scratch.canary.fill(0)
        }
      }
    }
    return { gcm: null, tamper: null, opened, detail: [...new Set(refusals)].join('; ') }
  }

  #tryMode(handle: Handle, mode: IvMode, form: GcmForm): AeadReply {
    const session = this.#session
    const first = roundTrip(session, { handle, form, gcm: profileOf(mode, 0) })
    const gcm = profileOf(mode, first.iv.length)
    const second = roundTrip(session, { handle, form, gcm })
    if (first.iv.equals(second.iv)) {
      throw new KeyturnError('iv-mode-refused', 'two wraps got the same IV')
    }
    const tamper = this.#tamper(handle, gcm, form)
    const said = Object.entries(tamper).map(([what, ckr]) => `${what} ${ckr}`)
    return {
      gcm,
      tamper,
      opened: false,
      detail: `${mode}, ${gcm.ivLength}-byte IV, 128-bit tag; tampered ones fail: ${said.join(', ')}`,
    }
  }

  /** Changed tag, AAD and IV must fail each: the CKR codes. Throws token-not-usable when one opens. */
  #tamper(
    handle: Handle,
    gcm: GcmProfile,
    form: GcmForm,
  ): { tag: number; aad: number; iv: number } {
    const session = this.#session
    const aad = randomBytes(32)
    const sealed = session.crypt(() =>
      wrapDek(gcmKey(session, { handle, form, gcm }), randomBytes(32), aad),
    )
    const codeOf = (what: string, iv: Buffer, wrapped: Buffer, aadGiven: Buffer): number => {
      const from = gcmKey(session, { handle, form, gcm })
      try {
        session.crypt(() => unwrapDek(from, { iv, wrapped }, aadGiven, scratch.canary))
      } catch (error) {
        if (!(error instanceof CkrError)) throw error
        session.replace()
        return error.ckr
      }
      throw new KeyturnError('token-not-usable', `a wrap with a changed ${what} was opened`)
    }
    return {
      tag: codeOf('tag', sealed.iv, flipped(sealed.wrapped), aad),
      aad: codeOf('AAD', sealed.iv, sealed.wrapped, flipped(aad)),
      iv: codeOf('IV', flipped(sealed.iv), sealed.wrapped, aad),
    }
  }

  /** Phase 4: every key of this label and id destroyed and seen to be gone. */
  cleanUp(label: string, keyId: Buffer): { destroyed: number } {
    // What failed before may have left an operation active, and no search is answered then.
    this.#session.replace()
    const session = asSession(this.#session)
    const keys = findKeys(session, label, keyId)
    try {
      for (const key of keys) destroyKey(session, key, label, keyId)
      if (keys.length === 0 && this.#made !== null) deleteKey(session, this.#made, label, keyId)
      this.#made = null
    } finally {
      if (this.#keeper !== null) this.#session.closeOther(this.#keeper)
      this.#keeper = null
    }
    return { destroyed: keys.length }
  }
}

/** The same bytes with the last bit changed. */
function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1
  return copy
}
