import { pino } from 'pino'
import { KeyturnError } from '../../../contracts/errors.ts'
import type { ProbePhase, ProbeReport } from '../../../contracts/kek.ts'
import type { Pkcs11Config } from '../../../contracts/settings.ts'
import type { AskLane } from '../pool/in-flight.ts'
import { modesToTry } from '../wire/iv-modes.ts'
import type { AeadReply, GenerateReply, IvsReply } from '../wire/messages.ts'
import { LanePool } from '../pool/pool.ts'
import { PHASE_DEADLINE_MS, ThrowawayKey } from './clean-up.ts'
import {
  aeadRefused,
  attributesWrong,
  errorOf,
  ivsRepeat,
  mechanismsMissing,
  notCleanedUp,
  type Finding,
} from './failure.ts'
import { vendorOf } from '../vendors/catalogue.ts'
import type { Vendor } from '../vendors/vendor.ts'

/** If the token makes the IVs, so many wraps must all have different ones. */
const IV_WRAPS = 1_000
/** On a slow token the time is the limit, but at least so many wraps are made. */
const IVS_WITHIN_MS = 15_000
const LEAST_IV_WRAPS = 100
const WRAPS_A_REQUEST = 50

/**
 * Opens the token for a probe and closes it again. An unusable token is a result (`usable: false`), not an error. Throws
 * module-missing, token-not-found, token-ambiguous, pin-refused, pin-locked, hsm-*, or the signal's reason (after the
 * clean-up, and within seconds even if the module hangs).
 */
export async function probeToken(options: {
  config: Pkcs11Config
  pin: string
  signal?: AbortSignal
}): Promise<ProbeReport> {
  const { config, pin, signal } = options
  signal?.throwIfAborted()
  const silent = { config, pin, log: pino({ level: 'silent' }), cores: 1 }
  const pool = await LanePool.open(silent, signal).catch((error: unknown) => {
    throw signal?.aborted === true ? signal.reason : error
  })
  try {
    return await probePool(pool, config, signal)
  } finally {
    await pool.close()
  }
}

/** A key in the token, by exact label and id; null for any id. */
export interface Named {
  label: string
  keyId: Buffer | null
}

/**
 * The same with an open pool: mechanisms, key-generation, aead, clean-up. The throwaway key is always destroyed. If that
 * fails after an abort, throws that error instead of the signal's reason.
 */
export async function probePool(
  pool: LanePool,
  config: Pkcs11Config,
  signal?: AbortSignal,
): Promise<ProbeReport> {
  const key = new ThrowawayKey()
  const probe = new Probe(pool, config, signal)
  await pool.inOneLane(async (ask) => {
    try {
      if ((await probe.mechanisms(ask)) && (await probe.generation(ask, key))) {
        await probe.aead(ask, key)
      }
    } finally {
      await probe.cleanUp(ask, key)
    }
  })
  if (signal?.aborted === true) throw probe.leftBehind() ?? signal.reason
  return probe.report()
}

/**
 * Probes with an existing key (pkcs11-register). No key is made or destroyed, so the phases are mechanisms and aead only.
 */
export async function examinePool(
  pool: LanePool,
  config: Pkcs11Config,
  named: Named,
): Promise<ProbeReport> {
  const probe = new Probe(pool, config)
  await pool.inOneLane(async (ask) => {
    if (await probe.mechanisms(ask)) await probe.aead(ask, named)
  })
  return probe.report()
}

type Request = (request: Parameters<AskLane>[0]) => Promise<unknown>
interface Outcome {
  detail: string
  finding?: Finding
}

/** The phases of one probe and their results. */
class Probe {
  readonly #pool: LanePool
  readonly #config: Pkcs11Config
  readonly #signal: AbortSignal | undefined
  readonly #vendor: Vendor | null
  readonly #phases: ProbePhase[] = []
  readonly #warnings: string[] = []
  #aead: AeadReply | null = null

  constructor(pool: LanePool, config: Pkcs11Config, signal?: AbortSignal) {
    this.#pool = pool
    this.#config = config
    this.#signal = signal
    const manufacturer = pool.token?.token.manufacturer ?? null
    this.#vendor = vendorOf(config.modulePath, manufacturer)
  }

  mechanisms(ask: AskLane): Promise<boolean> {
    return this.#run('mechanisms', ask, async (request) => {
      const found = (await request({ op: 'probe-mechanisms' })) as Mechanisms
      const { missing, detail } = found
      if (missing.length === 0) return { detail }
      const there = detail === '' ? '' : `; there: ${detail}`
      return {
        detail: `missing: ${missing.join(', ')}${there}`,
        finding: mechanismsMissing(missing),
      }
    })
  }

  generation(ask: AskLane, key: ThrowawayKey): Promise<boolean> {
    const { label, keyId } = key
    return this.#run('key-generation', ask, async (request) => {
      const { wrong, detail } = await key.make(async (onToken) => {
        const asked = { op: 'probe-generate', label, keyId, onToken } as const
        return (await request(asked)) as GenerateReply
      }, this.#signal)
      if (wrong.length === 0) return { detail }
      return { detail: `the key is not ${wrong.join(', ')}`, finding: attributesWrong(wrong) }
    })
  }

  aead(ask: AskLane, named: Named): Promise<boolean> {
    const { useGcmIvFromHsm } = this.#config
    return this.#run('aead', ask, async (request) => {
      const modes = modesToTry(useGcmIvFromHsm)
      const { label, keyId } = named
      const asked = { op: 'probe-aead', label, keyId, modes } as const
      const found = (await request(asked)) as AeadReply
      const { gcm, detail, broken, doubt } = found
      if (gcm === null) {
        return { detail, finding: aeadRefused(detail, useGcmIvFromHsm !== 'auto', broken) }
      }
      const ivs = gcm.ivMode === 'caller' ? null : await manyIvs(request)
      if (ivs !== null && ivs.different < ivs.wraps) return { detail, finding: ivsRepeat(ivs) }
      this.#aead = found
      if (doubt !== null) this.#warnings.push(doubt)
      return { detail: ivs === null ? detail : `${detail}; ${ivs.wraps} wraps, as many IVs` }
    })
  }

  async cleanUp(ask: AskLane, key: ThrowawayKey): Promise<void> {
    const start = performance.now()
    const phase = 'clean-up'
    try {
      const { detail, warnings } = await key.cleanUp(this.#pool, ask, this.#signal)
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
      vendor: this.#vendor === null ? null : introduce(this.#vendor),
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
    ask: AskLane,
    use: (request: Request) => Promise<Outcome>,
  ): Promise<boolean> {
    if (this.#signal?.aborted === true) return false
    const start = performance.now()
    let outcome: { detail: string; error?: ProbePhase['error'] }
    try {
      const { detail, finding } = await use((request) =>
        ask(request, PHASE_DEADLINE_MS, this.#signal),
      )
      outcome = finding ? { detail, error: errorOf(finding, this.#vendor) } : { detail }
    } catch (error) {
      const failed = asKeyturnError(error)
      outcome = { detail: failed.message, error: failed.toJSON() }
    }
    const { detail, error } = outcome
    const ok = error === undefined
    const milliseconds = since(start)
    this.#phases.push({ phase, ok, detail, milliseconds, ...(error ? { error } : {}) })
    return ok
  }
}

/** Lets the token wrap the same bytes many times: equal outputs mean equal IVs. */
async function manyIvs(request: Request): Promise<IvsReply> {
  const start = performance.now()
  for (;;) {
    const ivs = (await request({ op: 'probe-ivs', wraps: WRAPS_A_REQUEST })) as IvsReply
    if (ivs.different < ivs.wraps || ivs.wraps >= IV_WRAPS) return ivs
    if (ivs.wraps >= LEAST_IV_WRAPS && performance.now() - start > IVS_WITHIN_MS) return ivs
  }
}

interface Mechanisms {
  missing: string[]
  detail: string
}

/** Rethrows errors that are not about the token (a closed pool, a bug). */
function asKeyturnError(error: unknown): KeyturnError {
  if (error instanceof KeyturnError && error.code !== 'pool-closed') return error
  throw error
}

function introduce({ name, support, caution, page }: Vendor): ProbeReport['vendor'] {
  return { name, support, caution, page }
}

function since(start: number): number {
  return Math.round((performance.now() - start) * 10) / 10
}
