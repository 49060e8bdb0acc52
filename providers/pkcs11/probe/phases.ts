import { KeyturnError } from '../../../contracts/errors.ts'
import type { ProbePhase, ProbeReport } from '../../../contracts/kek.ts'
import type { Pkcs11Config } from '../../../contracts/settings.ts'
import type { SendToLane } from '../pool/in-flight.ts'
import type { LanePool } from '../pool/pool.ts'
import { vendorOf } from '../vendors/catalogue.ts'
import type { Vendor } from '../vendors/vendor.ts'
import { modesToTry } from '../wire/iv-modes.ts'
import type { LaneRequest, ProbeAeadReply, ProbeIvsReply, ReplyTo } from '../wire/messages.ts'
import { PHASE_DEADLINE_MS, type ThrowawayKey } from './clean-up.ts'
import {
  aeadRefused,
  attributesWrong,
  errorOf,
  ivsRepeat,
  mechanismsMissing,
  notCleanedUp,
  type Finding,
} from './failure.ts'

/** If the token makes the IVs, so many wraps must all have different ones. */
const IV_WRAPS = 1_000
/** On a slow token the time is the limit, but at least so many wraps are made. */
const IVS_WITHIN_MS = 15_000
const LEAST_IV_WRAPS = 100
const WRAPS_A_REQUEST = 50

/** A key in the token, by exact label and id; null for any id. */
export interface Named {
  label: string
  keyId: Buffer | null
}

/** Sends a request of a phase to the lane, with the deadline of a phase. */
type Run = <R extends LaneRequest>(request: R) => Promise<ReplyTo<R>>
interface PhaseResult {
  detail: string
  finding?: Finding
}

/** The phases of one probe and their results. */
export class ProbePhases {
  readonly #pool: LanePool
  readonly #config: Pkcs11Config
  readonly #signal: AbortSignal | undefined
  readonly #vendor: Vendor | null
  readonly #phases: ProbePhase[] = []
  readonly #warnings: string[] = []
  #aead: ProbeAeadReply | null = null

  constructor(pool: LanePool, config: Pkcs11Config, signal?: AbortSignal) {
    this.#pool = pool
    this.#config = config
    this.#signal = signal
    const manufacturer = pool.token?.token.manufacturer ?? null
    this.#vendor = vendorOf(config.modulePath, manufacturer)
  }

  mechanisms(send: SendToLane): Promise<boolean> {
    return this.#run('mechanisms', send, async (run) => {
      const { missing, detail } = await run({ op: 'probe-mechanisms' })
      if (missing.length === 0) return { detail }
      const there = detail === '' ? '' : `; there: ${detail}`
      return {
        detail: `missing: ${missing.join(', ')}${there}`,
        finding: mechanismsMissing(missing),
      }
    })
  }

  generation(send: SendToLane, key: ThrowawayKey): Promise<boolean> {
    const { label, keyId } = key
    return this.#run('key-generation', send, async (run) => {
      const { wrong, detail } = await key.make(
        (onToken) => run({ op: 'probe-generate', label, keyId, onToken }),
        this.#signal,
      )
      if (wrong.length === 0) return { detail }
      return { detail: `the key is not ${wrong.join(', ')}`, finding: attributesWrong(wrong) }
    })
  }

  aead(send: SendToLane, named: Named): Promise<boolean> {
    const { useGcmIvFromHsm } = this.#config
    return this.#run('aead', send, async (run) => {
      const modes = modesToTry(useGcmIvFromHsm)
      const { label, keyId } = named
      const found = await run({ op: 'probe-aead', label, keyId, modes })
      const { gcm, detail, broken, doubt } = found
      if (gcm === null) {
        return { detail, finding: aeadRefused(detail, useGcmIvFromHsm !== 'auto', broken) }
      }
      const ivs = gcm.ivMode === 'caller' ? null : await manyIvs(run)
      if (ivs !== null && ivs.different < ivs.wraps) return { detail, finding: ivsRepeat(ivs) }
      this.#aead = found
      if (doubt !== null) this.#warnings.push(doubt)
      return { detail: ivs === null ? detail : `${detail}; ${ivs.wraps} wraps, as many IVs` }
    })
  }

  async cleanUp(send: SendToLane, key: ThrowawayKey): Promise<void> {
    const start = performance.now()
    const phase = 'clean-up'
    try {
      const { detail, warnings } = await key.cleanUp(this.#pool, send, this.#signal)
      this.#warnings.push(...warnings)
      this.#phases.push({ phase, ok: true, detail, milliseconds: since(start) })
    } catch (error) {
      const cause = asKeyturnError(error)
      const failed = errorOf(notCleanedUp(key.label, key.keyId, cause), this.#vendor)
      const timed = { detail: cause.message, milliseconds: since(start) }
      this.#phases.push({ phase, ok: false, ...timed, error: failed })
    }
  }

  /** The error of a clean-up that failed. */
  leftBehind(): KeyturnError | null {
    const error = this.#phases.find(({ phase }) => phase === 'clean-up')?.error
    if (error === undefined) return null
    return new KeyturnError(error.code, error.message, error.hint ? { hint: error.hint } : {})
  }

  report(): ProbeReport {
    const { token, maxSessions = null, warnings = [] } = this.#pool.token ?? {}
    const found = this.#aead
    return {
      module: this.#config.modulePath,
      token: token ?? null,
      vendor: this.#vendor === null ? null : publicPart(this.#vendor),
      warnings: [...warnings, ...this.#warnings],
      phases: this.#phases,
      gcm: found?.gcm ?? null,
      sessions: { max: maxSessions },
      tamperCode: found?.tamper?.tag ?? null,
      tamper: found?.tamper ?? null,
      usable: found?.gcm != null && this.#phases.every(({ ok }) => ok),
    }
  }

  /** Runs and times a phase; returns whether to continue. A coded failure of the token is the phase's result. */
  async #run(
    phase: ProbePhase['phase'],
    send: SendToLane,
    use: (run: Run) => Promise<PhaseResult>,
  ): Promise<boolean> {
    if (this.#signal?.aborted === true) return false
    const start = performance.now()
    let result: { detail: string; error?: ProbePhase['error'] }
    try {
      const { detail, finding } = await use((request) =>
        send(request, PHASE_DEADLINE_MS, this.#signal),
      )
      result = finding ? { detail, error: errorOf(finding, this.#vendor) } : { detail }
    } catch (error) {
      const failed = asKeyturnError(error)
      result = { detail: failed.message, error: failed.toJSON() }
    }
    const { detail, error } = result
    const ok = error === undefined
    const milliseconds = since(start)
    this.#phases.push({ phase, ok, detail, milliseconds, ...(error ? { error } : {}) })
    return ok
  }
}

/** Lets the token wrap the same bytes many times: equal outputs mean equal IVs. */
async function manyIvs(run: Run): Promise<ProbeIvsReply> {
  const start = performance.now()
  for (;;) {
    const ivs = await run({ op: 'probe-ivs', wraps: WRAPS_A_REQUEST })
    if (ivs.different < ivs.wraps || ivs.wraps >= IV_WRAPS) return ivs
    if (ivs.wraps >= LEAST_IV_WRAPS && performance.now() - start > IVS_WITHIN_MS) return ivs
  }
}

/** Rethrows errors that are not about the token (a closed pool, a bug). */
function asKeyturnError(error: unknown): KeyturnError {
  if (error instanceof KeyturnError && error.code !== 'pool-closed') return error
  throw error
}

function publicPart({ name, support, caution, page }: Vendor): ProbeReport['vendor'] {
  return { name, support, caution, page }
}

function since(start: number): number {
  return Math.round((performance.now() - start) * 10) / 10
}
