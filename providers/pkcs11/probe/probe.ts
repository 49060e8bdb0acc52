import { pino } from 'pino'
import type { ProbeReport } from '../../../contracts/kek.ts'
import type { Pkcs11Config } from '../../../contracts/settings.ts'
import { LanePool } from '../pool/pool.ts'
import { ThrowawayKey } from './clean-up.ts'
import { ProbePhases, type Named } from './phases.ts'

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
  const phases = new ProbePhases(pool, config, signal)
  await pool.inOneLane(async (send) => {
    try {
      if ((await phases.mechanisms(send)) && (await phases.generation(send, key))) {
        await phases.aead(send, key)
      }
    } finally {
      await phases.cleanUp(send, key)
    }
  })
  if (signal?.aborted === true) throw phases.leftBehind() ?? signal.reason
  return phases.report()
}

/**
 * Probes with an existing key (pkcs11-register). No key is made or destroyed, so the phases are mechanisms and aead only.
 */
export async function examinePool(
  pool: LanePool,
  config: Pkcs11Config,
  named: Named,
): Promise<ProbeReport> {
  const phases = new ProbePhases(pool, config)
  await pool.inOneLane(async (send) => {
    if (await phases.mechanisms(send)) await phases.aead(send, named)
  })
  return phases.report()
}
