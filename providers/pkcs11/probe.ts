import { randomBytes } from 'node:crypto'
import { pino } from 'pino'
import { KeyturnError } from '../../contracts/errors.ts'
import type { GcmProfile, ProbePhase, ProbeReport } from '../../contracts/kek.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { modesToTry } from './gcm.ts'
import type { AeadReply } from './lane-messages.ts'
import { LanePool, type LaneAsk } from './pool.ts'

const PHASE_DEADLINE_MS = 30_000
/** At most 32 characters: some tokens cut labels there. */
const PROBE_LABEL = 'keyturn-probe'

/**
 * Opens the token for a probe and closes it again. A token that cannot be used is an answer (`usable: false`), not an
 * error; throws module-missing, token-not-found, token-ambiguous, pin-refused, pin-locked, hsm-*, or the signal's reason
 * (after the clean-up).
 */
export async function probeToken(options: {
  config: Pkcs11Config
  pin: string
  signal?: AbortSignal
}): Promise<ProbeReport> {
  const { config, pin, signal } = options
  signal?.throwIfAborted()
  const pool = await LanePool.open({ config, pin, log: pino({ level: 'silent' }), cores: 1 })
  try {
    return await probePool(pool, config, signal)
  } finally {
    await pool.close()
  }
}

/** The same with a pool that is there. The throwaway key is gone afterwards, whatever happens in between. */
export async function probePool(
  pool: LanePool,
  config: Pkcs11Config,
  signal?: AbortSignal,
): Promise<ProbeReport> {
  const keyId = randomBytes(16)
  const named = { label: PROBE_LABEL, keyId }
  const phases: ProbePhase[] = []
  let aead: AeadReply | null = null
  await pool.inOneLane(async (ask) => {
    const run = phaseRunner(phases, ask, signal)
    try {
      const go =
        (await run('mechanisms', async (request) => {
          const found = (await request({ op: 'probe-mechanisms' })) as Mechanisms
          const warnings = (pool.token?.warnings ?? []).map((warning) => `; warning: ${warning}`)
          const detail = sayMechanisms(found) + warnings.join('')
          return { ok: found.missing.length === 0, detail }
        })) &&
        (await run('key-generation', async (request) => {
          const made = (await request({ op: 'probe-generate', ...named })) as Generated
          const ok = made.wrong.length === 0
          return { ok, detail: ok ? made.detail : `the key is not ${made.wrong.join(', ')}` }
        }))
      if (go) {
        await run('aead', async (request) => {
          const modes = modesToTry(config.useGcmIvFromHsm)
          aead = (await request({ op: 'probe-aead', ...named, modes })) as AeadReply
          return { ok: aead.gcm !== null, detail: aead.detail }
        })
      }
    } finally {
      phases.push(await cleanUp(pool, ask, named))
    }
  })
  signal?.throwIfAborted()
  return report(pool, config, phases, aead)
}

/** The error that a command or an installation ends with when a token was probed and is not usable; null if it is. */
export function probeFailure(report: ProbeReport): KeyturnError | null {
  if (report.usable) return null
  const failed = report.phases.find((phase) => !phase.ok)
  const detail = failed?.detail ?? 'no phase was run'
  if (failed?.phase === 'mechanisms') {
    return new KeyturnError('mechanism-missing', `HSM does not support what is needed: ${detail}`, {
      hint: 'CKM_AES_KEY_GEN and CKM_AES_GCM are needed; look at: pkcs11-tool --module MODULE -M',
    })
  }
  const code = failed?.phase === 'aead' ? 'iv-mode-refused' : 'token-not-usable'
  return new KeyturnError(
    code,
    `the token failed the probe at "${failed?.phase ?? ''}": ${detail}`,
    {
      hint:
        code === 'iv-mode-refused'
          ? 'set kek.pkcs11.use_gcm_iv_from_hsm to auto, or to what the vendor says'
          : 'look at the whole report: keyturn pkcs11-init --version N --probe-only',
    },
  )
}

interface Mechanisms {
  missing: string[]
  detail: string
}
interface Generated {
  wrong: string[]
  detail: string
}
type Ask = (request: Parameters<LaneAsk>[0]) => Promise<unknown>

/** Runs a phase, times it, and answers whether to go on. A coded failure of the token is the phase's detail. */
function phaseRunner(phases: ProbePhase[], ask: LaneAsk, signal: AbortSignal | undefined) {
  return async (
    phase: ProbePhase['phase'],
    use: (request: Ask) => Promise<{ ok: boolean; detail: string }>,
  ): Promise<boolean> => {
    signal?.throwIfAborted()
    const start = performance.now()
    const done = await use((request) => ask(request, PHASE_DEADLINE_MS)).catch(asDetail)
    phases.push({ phase, ...done, milliseconds: since(start) })
    return done.ok
  }
}

/** Tries in the same lane first (a session key is seen by its own process only), then in any other. */
async function cleanUp(
  pool: LanePool,
  ask: LaneAsk,
  named: { label: string; keyId: Buffer },
): Promise<ProbePhase> {
  const start = performance.now()
  const request = { op: 'probe-clean-up', ...named } as const
  const done = await ask(request, PHASE_DEADLINE_MS)
    .catch(async () => (await pool.run(request, { urgent: true })).value)
    .then((value) => {
      const { destroyed } = value as { destroyed: number }
      const detail = destroyed === 0 ? 'nothing was left behind' : 'the throwaway key is gone'
      return { ok: true, detail }
    })
    .catch(asDetail)
  return { phase: 'clean-up', ...done, milliseconds: since(start) }
}

function report(
  pool: LanePool,
  config: Pkcs11Config,
  phases: ProbePhase[],
  aead: AeadReply | null,
): ProbeReport {
  return {
    module: config.modulePath,
    token: pool.token?.token ?? null,
    phases,
    gcm: aead?.gcm ?? null,
    sessions: { max: pool.token?.maxSessions ?? null },
    tamperCode: aead?.tamperCode ?? null,
    usable: aead?.gcm != null && phases.every((phase) => phase.ok),
  }
}

/** Of a usable report. */
export function profileFrom(report: ProbeReport): GcmProfile {
  const failure = probeFailure(report)
  if (failure !== null || report.gcm === null) {
    throw failure ?? new KeyturnError('token-not-usable', 'the probe found no way to use AES-GCM')
  }
  return { ivMode: report.gcm.ivMode, ivLength: report.gcm.ivLength, tagBits: 128 }
}

function sayMechanisms({ missing, detail }: Mechanisms): string {
  if (missing.length === 0) return detail
  return `missing: ${missing.join(', ')}${detail === '' ? '' : `; there: ${detail}`}`
}

function asDetail(error: unknown): { ok: false; detail: string } {
  if (!(error instanceof KeyturnError) || error.code === 'pool-closed') throw error
  return { ok: false, detail: error.message }
}

function since(start: number): number {
  return Math.round((performance.now() - start) * 10) / 10
}
