import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { countVersion } from '../../store/census.ts'
import { readActive } from '../../store/kek-active.ts'
import { listQuarantine, recheckQuarantine } from '../../store/rewrap-quarantine.ts'
import { requireInstalled, withKeystore, withOwnKeystore } from '../keystore.ts'
import type { Follower } from '../follow.ts'
import { rotate, type RotationAnswer } from '../rotate.ts'

/** The shape of `quarantine retry --json`. */
export interface RetryView {
  /** Rows before and after. */
  before: number
  remaining: number
  /** One for each version that had envelopes in quarantine. */
  rotations: RotationAnswer[]
}

/**
 * Tries the quarantined envelopes again. Rows of envelopes that were repaired or deleted are cleared. Envelopes under an
 * older version are re-wrapped under the active one by an ordinary rotation that finds nothing else to do, with
 * verification, range documents and the attempt filter of each page. The error is set while rows remain.
 */
export async function retryQuarantine(
  config: Config,
  follower: Follower,
): Promise<{ view: RetryView; error: KeyturnError | null }> {
  const { before, active, versions } = await look(config)
  const rotations: RotationAnswer[] = []
  for (const from of versions) {
    const request = { from, to: active, reason: 'quarantine retry', detach: false }
    const limits = { maxRate: config.rewrap.maxRate, maxHsmCalls: 0 }
    const { answer, error } = await rotate(config, { ...request, ...limits }, follower)
    rotations.push(answer)
    if (error !== null && error.exitCode !== 6) {
      return { view: { before, remaining: await count(config), rotations }, error }
    }
    // Ctrl-C detached from it.
    if (answer.outcome === 'started') break
  }
  const remaining = await count(config)
  const error =
    remaining === 0
      ? null
      : new KeyturnError('quarantined', `${remaining} envelopes are still in quarantine`, {
          hint: 'keyturn quarantine list names each with its reason',
        })
  return { view: { before, remaining, rotations }, error }
}

async function look(config: Config) {
  return withOwnKeystore(config, async (keystore) => {
    const { store, settings } = keystore
    requireInstalled(keystore, config)
    const rows = await listQuarantine(store)
    const active = (await readActive(store))?.version ?? 0
    const versions: number[] = []
    // The recheck clears rows of repaired envelopes, but those may still have to be re-wrapped.
    for (const version of new Set(rows.map(({ kek_version }) => kek_version))) {
      await recheckQuarantine(store, version)
      // An odd envelope has no version to rotate from; its owner has to repair it.
      if (version === null || version === active) continue
      if ((await countVersion(store, settings.collections, version)) > 0) versions.push(version)
    }
    return { before: rows.length, active, versions: versions.sort((a, b) => a - b) }
  })
}

async function count(config: Config): Promise<number> {
  return withKeystore(config, async ({ store }) => {
    await recheckQuarantine(store)
    return (await listQuarantine(store)).length
  })
}
