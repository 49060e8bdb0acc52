import { timingSafeEqual } from 'node:crypto'
import { KeyturnError } from '../../../contracts/errors.ts'
import { CKR_FUNCTION_FAILED } from '../wire/ckr-codes.ts'
import { CkrError } from '../wire/errors.ts'
import { DEK_BYTES, gcmKey, scratch, unwrapDek, wrapDek, type GcmKey } from './gcm.ts'
import { loadKey, openCanary, openCanaryAtOnce, proveKey, type LaneKey } from './loaded-keys.ts'
import type { BatchReply, BatchRequest } from '../wire/messages.ts'
import type { LaneSession } from './session.ts'
import { asBuffer, pack, unpack } from '../wire/packing.ts'
import { pauseThread } from './pause-thread.ts'

const SAMPLED_EVERY = 16
/** How often an envelope must fail while the canary opens, before it counts as unreadable. */
const FAILURES = 2
/**
 * The same on a token with one code for throttling and a wrong tag: so often in a row, and each time the canary must open
 * at once. If a share p of calls is throttled, the chance for a sound envelope to count as unreadable is
 * (p × (1 - p))^10 < 10^-6.
 */
const AMBIGUOUS_FAILURES = 10
const AMBIGUOUS_PAUSE_MS = 10
/** The lane retries a throttled call after growing pauses, so that a batch makes progress while some calls pass. */
const THROTTLED_TRIES = 7
const FIRST_THROTTLED_PAUSE_MS = 5
/** Limit of all such pauses in one batch: the lane must reply before the pool takes it for hung (10 s). */
const LONGEST_THROTTLED_MS = 5_000

interface Sealed {
  iv: Buffer
  wrapped: Buffer
}

/**
 * The batch work of one lane. A plaintext DEK of a rewrap exists only in `scratch`, for one item, and is overwritten at
 * the end of the batch, also after an error.
 */
export class LaneBatches {
  readonly #session: LaneSession
  readonly #keys: Map<number, LaneKey>
  #checks = 0
  #throttledMs = 0

  constructor(session: LaneSession, keys: Map<number, LaneKey>) {
    this.#session = session
    this.#keys = keys
  }

  run(request: BatchRequest): BatchReply {
    this.#throttledMs = 0
    try {
      if (request.op === 'rewrap') return this.#rewrap(request)
      return request.op === 'wrap' ? this.#wrap(request) : this.#unwrap(request)
    } catch (error) {
      // If the keys have become unusable, report that instead of this error.
      if (error instanceof CkrError && error.fault === 'never') this.#requireKeys(request)
      throw error
    } finally {
      scratch.wipe()
      if (request.op === 'wrap') request.items.fill(0)
    }
  }

  #requireKeys(request: BatchRequest): void {
    const versions = request.op === 'rewrap' ? [request.from, request.to] : [request.version]
    for (const version of versions) proveKey(this.#session, this.#key(version))
  }

  #rewrap(request: BatchRequest & { op: 'rewrap' }): BatchReply {
    const { from, to, check } = request
    return collect(unpack(asBuffer(request.items), 4), ([iv, wrapped, aadFrom, aadTo]) => {
      const dek = this.#open(from, { iv, wrapped }, aadFrom, scratch.opened)
      if (typeof dek === 'string') return dek
      dek.copy(scratch.kept)
      const sealed = this.#seal(to, dek, aadTo)
      requireSame(dek, 'a DEK changed in memory while it was wrapped')
      const due = check === 'all' || (check === 'sampled' && this.#checks++ % SAMPLED_EVERY === 0)
      if (due) this.#check(to, sealed, aadTo)
      return [sealed.iv, sealed.wrapped]
    })
  }

  #wrap(request: BatchRequest & { op: 'wrap' }): BatchReply {
    return collect(unpack(asBuffer(request.items), 2), ([dek, aad]) => {
      const { iv, wrapped } = this.#seal(request.version, dek, aad)
      return [iv, wrapped]
    })
  }

  #unwrap(request: BatchRequest & { op: 'unwrap' }): BatchReply {
    return collect(unpack(asBuffer(request.items), 3), ([iv, wrapped, aad]) => {
      const dek = this.#open(request.version, { iv, wrapped }, aad, scratch.opened)
      return typeof dek === 'string' ? dek : [Buffer.from(dek)]
    })
  }

  /** The DEK as a view of `into`, or why the envelope is unreadable; throws when the token is at fault. */
  #open(version: number, sealed: Sealed, aad: Buffer, into: Buffer): Buffer | string {
    for (let failures = 1; ; failures++) {
      try {
        const dek = this.#once(version, (key) => unwrapDek(key, sealed, aad, into))
        return dek.length === DEK_BYTES ? dek : `it opens to ${dek.length} bytes, not ${DEK_BYTES}`
      } catch (error) {
        const key = this.#key(version)
        if (!(error instanceof CkrError) || !blamesData(error, key, sealed)) throw error
        const ambiguous = error.ckr === CKR_FUNCTION_FAILED
        // If the canary is throttled too, this throws: nothing is known about the envelope, and the pool pauses.
        if (ambiguous) openCanaryAtOnce(this.#session, key)
        else openCanary(this.#session, key)
        if (failures >= (ambiguous ? AMBIGUOUS_FAILURES : FAILURES)) {
          return `${error.message}, while the canary of version ${version} opens`
        }
        if (ambiguous) pauseThread(AMBIGUOUS_PAUSE_MS)
      }
    }
  }

  #seal(version: number, dek: Buffer, aad: Buffer): Sealed {
    return this.#once(version, (key) => wrapDek(key, dek, aad))
  }

  #check(version: number, sealed: Sealed, aad: Buffer): void {
    const again = this.#once(version, (key) => unwrapDek(key, sealed, aad, scratch.again))
    requireSame(again, `a fresh wrap under version ${version} opened to other bytes`)
  }

  /** One crypt call; retried once after a lost session, once after a stale handle, and a few times when throttled. */
  #once<T>(version: number, use: (key: GcmKey) => T): T {
    const retried = new Set<string>()
    for (let throttled = 0; ;) {
      const key = this.#key(version)
      const gcm = gcmKey(this.#session, { ...key, gcm: key.request.gcm })
      try {
        return this.#session.crypt(() => use(gcm))
      } catch (error) {
        if (!(error instanceof CkrError)) throw error
        this.#session.replace()
        const { fault } = error
        const isTag = error.ckr === key.badTag && error.method.startsWith('C_Decrypt')
        if (fault === 'back-off' && !isTag && ++throttled < THROTTLED_TRIES) {
          this.#pauseThrottled(error, FIRST_THROTTLED_PAUSE_MS * 2 ** throttled)
          continue
        }
        if ((fault !== 'session' && fault !== 'key') || retried.has(fault)) throw error
        retried.add(fault)
        if (fault === 'key') this.#keys.set(version, loadKey(this.#session, key.request))
      }
    }
  }

  #pauseThrottled(error: CkrError, milliseconds: number): void {
    this.#throttledMs += milliseconds
    if (this.#throttledMs > LONGEST_THROTTLED_MS) throw error
    pauseThread(milliseconds)
  }

  #key(version: number): LaneKey {
    const key = this.#keys.get(version)
    if (key !== undefined) return key
    throw new KeyturnError('kek-not-loaded', `version ${version} is not loaded in this lane`)
  }
}

/** Compares with the DEK that was unwrapped, in constant time; throws `message`. */
function requireSame(dek: Buffer, message: string): void {
  if (dek.length === DEK_BYTES && timingSafeEqual(dek, scratch.kept)) return
  throw new KeyturnError('hsm-failed', message)
}

/** Whether an error of C_Decrypt may be the envelope's fault rather than the token's; then the canary decides. */
function blamesData(error: CkrError, key: LaneKey, sealed: Sealed): boolean {
  if (!error.method.startsWith('C_Decrypt')) return false
  if (error.ckr === key.badTag || error.fault === 'data') return true
  // An IV of an odd length is refused at C_DecryptInit by tokens that take 12 bytes only (Fortanix).
  return error.fault === 'never' && sealed.iv.length !== key.request.gcm.ivLength
}

/** Runs `use` on each item and packs its rows; an item for which it returns a string goes into `refused`. */
function collect<Row>(items: Row[], use: (item: Row) => Buffer[] | string): BatchReply {
  const refused: BatchReply['refused'] = []
  const done: Buffer[][] = []
  let answer: Buffer | undefined
  try {
    items.forEach((item, index) => {
      const result = use(item)
      if (typeof result === 'string') refused.push({ index, message: result })
      else done.push(result)
    })
    answer = pack(done)
  } finally {
    // The rows of an unwrap are copies of DEKs.
    for (const row of done) for (const field of row) field.fill(0)
  }
  return { items: answer, refused }
}
