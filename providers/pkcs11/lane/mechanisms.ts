import { call, ck, type Handle } from './driver.ts'
import { CkrError } from '../wire/errors.ts'
import {
  deleteKey,
  destroyKey,
  findKeys,
  generateKey,
  isNamed,
  keyIdOf,
  wrongAttributes,
} from './key-objects.ts'
import type {
  ProbeCleanUpReply,
  ProbeGenerateReply,
  ProbeMechanismsReply,
} from '../wire/messages.ts'
import type { LaneSession } from './session.ts'

const CKF_ENCRYPT = 0x100
const CKF_DECRYPT = 0x200
const CKF_GENERATE = 0x8000
const AES_256 = [32, 256] // key sizes of AES mechanisms are in bytes; some modules give bits

/** Phase 1: what is missing of CKM_AES_KEY_GEN and CKM_AES_GCM, and in `detail` what there is. */
export function probeMechanisms(session: LaneSession): ProbeMechanismsReply {
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

/** The throwaway key of a probe. It lives in its own session, so that it ends at the latest with this process. */
export class LaneProbe {
  readonly #session: LaneSession
  #keeper: Handle | null = null
  /** The throwaway key, to be destroyed even if the token does not find it by label and id. */
  #made: Handle | null = null

  constructor(session: LaneSession) {
    this.#session = session
  }

  /**
   * Phase 2: makes the throwaway key and reads its attributes back. `made` is false when the token refuses session keys:
   * then the caller requests a token key, which outlives this process.
   */
  generate(label: string, keyId: Buffer, onToken: boolean): ProbeGenerateReply {
    const session = this.#session
    const key = onToken ? generateKey(session, label, keyId, true) : this.#sessionKey(label, keyId)
    if (key === null) return { made: false, wrong: [], detail: '' }
    this.#made = key
    const wrong = wrongAttributes(session, key, onToken)
    if (!isNamed(session, key, label, keyId)) wrong.push('CKA_LABEL and CKA_ID as given')
    const kind = onToken ? 'token' : 'session'
    return { made: true, wrong, detail: `AES-256 ${kind} key, sensitive and not extractable` }
  }

  /** Made in its own session, since the lane's session is replaced after each error. */
  #sessionKey(label: string, keyId: Buffer): Handle | null {
    const keeper = this.#session.another()
    this.#keeper = keeper
    if (keeper === null) return null
    try {
      return generateKey({ cryptoki: this.#session.cryptoki, handle: keeper }, label, keyId, false)
    } catch (error) {
      if (error instanceof CkrError) return null
      throw error
    }
  }

  /** Phase 4: destroys every key with this label and id, verifies it, and lists other keys with the label. */
  cleanUp(label: string, keyId: Buffer): ProbeCleanUpReply {
    // A failed call may have left an operation active, and then searches fail.
    this.#session.replace()
    const session = this.#session
    const keys = findKeys(session, label, keyId)
    try {
      for (const key of keys) destroyKey(session, key, label, keyId)
      if (keys.length === 0 && this.#made !== null) deleteKey(session, this.#made, label, keyId)
      this.#made = null
    } finally {
      if (this.#keeper !== null) this.#session.closeOther(this.#keeper)
      this.#keeper = null
    }
    const left = findKeys(session, label, null).map((key) => keyIdOf(session, key))
    return { destroyed: keys.length, others: left.map((id) => id ?? Buffer.alloc(0)) }
  }
}
