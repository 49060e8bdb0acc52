import { randomBytes } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { IvMode } from '../../../contracts/kek.ts'
import type { Handle } from './driver.ts'
import { CkrError } from '../wire/errors.ts'
import {
  DEK_BYTES,
  gcmKey,
  profileOf,
  rawWrap,
  readAs,
  scratch,
  unwrapDek,
  waysOf,
  wrapDek,
  type GcmForm,
  type GcmKey,
} from './gcm.ts'
import { isReadBy, placeByVariation } from './iv-reading.ts'
import { discardKey, findOneKey, plainKey } from './key-objects.ts'
import type { ProbeAeadReply, ProbeIvsReply } from '../wire/messages.ts'
import type { LaneSession } from './session.ts'
import { freshProbeId, PROBE_LABEL } from '../wire/probe-key.ts'

/** Number of wraps that is enough to distinguish a counting IV from ciphertext. */
const VARIATION_WRAPS = 96

interface Way {
  handle: Handle
  mode: IvMode
  form: GcmForm
}

/**
 * Finds out by trial how the token does AES-GCM. If the token allows a probe key with a known value, node:crypto opens its
 * wraps, which shows where the IV is. Otherwise the bytes of many wraps are compared.
 */
export class LaneAead {
  readonly #session: LaneSession
  /** The same in every wrap of a probe, so that equal outputs mean equal IVs. */
  readonly #plain = randomBytes(DEK_BYTES)
  readonly #aad = randomBytes(32)
  #found: Way | null = null
  #outputs: Buffer[] = []

  constructor(session: LaneSession) {
    this.#session = session
  }

  /** Finds the first way in which wraps open again, have different IVs, and fail when tampered with. */
  find(label: string, keyId: Buffer | null, modes: readonly IvMode[]): ProbeAeadReply {
    const session = this.#session
    const handle = session.found(() => findOneKey(session, label, keyId))
    const { possible, certain } = this.#readable(modes)
    const refusals = modes
      .filter((mode) => !possible.includes(mode))
      .map((mode) => `${mode}: what a known key wrapped is not AES-GCM with its IV there`)
    let broken = false
    for (const { mode, form } of waysOf(possible)) {
      try {
        return this.#accept({ handle, mode, form }, certain ? null : modes)
      } catch (error) {
        if (!(error instanceof CkrError || error instanceof KeyturnError)) throw error
        if (error instanceof CkrError && error.fault === 'reconnect') throw error
        if (error instanceof CkrError) session.replace()
        else broken ||= error.code === 'token-not-usable'
        refusals.push(`${mode}: ${error.message}`)
      } finally {
        scratch.canary.fill(0)
      }
    }
    const detail = [...new Set(refusals)].join('; ')
    return { gcm: null, tamper: null, broken, doubt: null, detail }
  }

  /** Wraps the same bytes again in the way that `find` found, in a new session. */
  wrapMore(wraps: number): ProbeIvsReply {
    const way = this.#found
    if (way === null) throw new KeyturnError('internal', 'no way of AES-GCM was found before')
    this.#session.replace()
    this.#wrap(way, wraps)
    const ivs = this.#outputs.map((output) => output.toString('latin1'))
    return { wraps: ivs.length, different: new Set(ivs).size }
  }

  /**
   * The modes that are possible after a known key has wrapped in each: those that read correctly (`certain`), else those
   * that the token refused for that key. All modes if there is no such key.
   */
  #readable(modes: readonly IvMode[]): { possible: readonly IvMode[]; certain: boolean } {
    const keeper = this.#session.another()
    if (keeper === null) return { possible: modes, certain: false }
    const session = { cryptoki: this.#session.cryptoki, handle: keeper }
    try {
      const known = plainKey(session, PROBE_LABEL, freshProbeId())
      if (known === null) return { possible: modes, certain: false }
      try {
        const results = modes.map((mode) => ({ mode, reads: this.#reads(mode, known) }))
        const right = results.filter(({ reads }) => reads === true)
        const refused = results.filter(({ reads }) => reads === null)
        const left = right.length > 0 ? right : refused
        return { possible: left.map(({ mode }) => mode), certain: right.length > 0 }
      } finally {
        known.value.fill(0)
        discardKey(session, known.handle)
      }
    } finally {
      this.#session.closeOther(keeper)
    }
  }

  /** Whether a known key's wrap can be read in this mode; null if the token refuses to wrap in it. */
  #reads(mode: IvMode, known: { handle: Handle; value: Buffer }): boolean | null {
    const [plain, aad, key] = [this.#plain, this.#aad, known.value]
    let answer: boolean | null = null
    for (const { form } of waysOf([mode])) {
      try {
        const raw = this.#raw({ handle: known.handle, mode, form })
        if (isReadBy(mode, raw, { plain, aad, key })) return true
        answer = false
      } catch (error) {
        if (!(error instanceof CkrError) || error.fault === 'reconnect') throw error
        this.#session.replace()
      }
    }
    return answer
  }

  /** `unsure`: the possible modes when no known key could distinguish prefix and suffix, and the bytes of many wraps must; else null. */
  #accept(way: Way, unsure: readonly IvMode[] | null): ProbeAeadReply {
    this.#outputs = []
    this.#wrap(way, 2)
    const [first, second] = this.#outputs
    if (first === undefined || second === undefined || first.equals(second)) {
      throw new KeyturnError('token-not-usable', 'two wraps got the same IV')
    }
    const sealed = this.#sealed(way)
    this.#requireOpen(way, sealed)
    const tamper = this.#tamper(way, sealed)
    const isAmbiguous = unsure !== null && way.form.decrypts === 'joined'
    const { mode, doubt } = isAmbiguous ? this.#place(way, unsure) : { mode: way.mode, doubt: null }
    this.#found = { ...way, mode }
    const gcm = profileOf(mode, sealed.iv.length)
    const codes = Object.entries(tamper).map(([what, ckr]) => `${what} ${ckr}`)
    return {
      gcm,
      tamper,
      doubt,
      broken: false,
      detail: `${mode}, ${gcm.ivLength}-byte IV, 128-bit tag; tampered ones fail: ${codes.join(', ')}`,
    }
  }

  #place(way: Way, modes: readonly IvMode[]): { mode: IvMode; doubt: string | null } {
    this.#wrap(way, VARIATION_WRAPS)
    const place = placeByVariation(this.#outputs)
    if (place !== null && modes.includes(place)) return { mode: place, doubt: null }
    return {
      mode: way.mode,
      doubt: `nothing shows whether this token puts the IV before or behind its output: it is stored as "${way.mode}", which opens either way`,
    }
  }

  /** Wraps and keeps the outputs; throws when a wrap cannot be read in the mode. */
  #wrap(way: Way, wraps: number): void {
    for (let n = 0; n < wraps; n++) {
      const raw = this.#raw(way)
      if (readAs(way.mode, raw) === null) throw modeNotKept(way.mode)
      this.#outputs.push(raw.output)
    }
  }

  #raw(way: Way): ReturnType<typeof rawWrap> {
    return this.#session.crypt(() => rawWrap(this.#key(way), this.#plain, this.#aad))
  }

  #sealed(way: Way): { iv: Buffer; wrapped: Buffer } {
    return this.#session.crypt(() => wrapDek(this.#key(way), this.#plain, this.#aad))
  }

  #key({ handle, mode, form }: Way): GcmKey {
    return gcmKey(this.#session, { handle, form, gcm: profileOf(mode, 0) })
  }

  #requireOpen(way: Way, sealed: { iv: Buffer; wrapped: Buffer }): void {
    const opened = this.#session.crypt(() =>
      unwrapDek(this.#key(way), sealed, this.#aad, scratch.canary),
    )
    if (opened.equals(this.#plain)) return
    throw new KeyturnError(
      'hsm-failed',
      'the token opened a nonce to other bytes than were wrapped',
    )
  }

  /** A changed tag, AAD and IV must each fail; returns their CKR codes. Throws token-not-usable when one opens. */
  #tamper(
    way: Way,
    { iv, wrapped }: { iv: Buffer; wrapped: Buffer },
  ): { tag: number; aad: number; iv: number } {
    const session = this.#session
    const codeOf = (what: string, sealed: { iv: Buffer; wrapped: Buffer }, aad: Buffer): number => {
      try {
        session.crypt(() => unwrapDek(this.#key(way), sealed, aad, scratch.canary))
      } catch (error) {
        if (!(error instanceof CkrError)) throw error
        session.replace()
        return error.ckr
      }
      throw new KeyturnError('token-not-usable', `a wrap with a changed ${what} was opened`)
    }
    return {
      tag: codeOf('tag', { iv, wrapped: flipped(wrapped) }, this.#aad),
      aad: codeOf('AAD', { iv, wrapped }, flipped(this.#aad)),
      iv: codeOf('IV', { iv: flipped(iv), wrapped }, this.#aad),
    }
  }
}

function modeNotKept(mode: IvMode): KeyturnError {
  return new KeyturnError('iv-mode-refused', `the token does not keep to IV mode "${mode}"`)
}

/** The same bytes with the last bit changed. */
function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1
  return copy
}
