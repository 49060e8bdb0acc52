import { KeyturnError } from '../contracts/errors.ts'
import { isLive, processName, type HeartbeatFact } from './facts.ts'
import { hasAnswered } from './proof-question.ts'

/** The live processes that have not answered: promote asks them first, or names them in its refusal. */
function unproven(
  heartbeats: readonly HeartbeatFact[],
  version: number,
  nonces: readonly string[],
): HeartbeatFact[] {
  return heartbeats.filter(
    (heartbeat) => isLive(heartbeat) && !hasAnswered(heartbeat, version, nonces),
  )
}

/** The live processes that started since verify: promote asks them first. */
function appearedSince(
  heartbeats: readonly HeartbeatFact[],
  verified: readonly string[],
): HeartbeatFact[] {
  return heartbeats.filter((heartbeat) => isLive(heartbeat) && !verified.includes(heartbeat.id))
}

/**
 * Whether a question was asked more than two leases ago, by the database's clock alone. Null: nothing was asked. After the
 * clock ran backwards the question counts as old.
 */
export function isQuestionOld(ageMs: number | null, leaseMs: number): boolean {
  return ageMs === null || ageMs < 0 || ageMs > 2 * leaseMs
}

export function oldQuestion(version: number): KeyturnError {
  return new KeyturnError(
    'not-ready',
    `the fleet proved version "${version}" more than two leases ago`,
    { hint: `run: keyturn verify --target ${version}` },
  )
}

/** A rotation's question and the processes that answered it, from the rotation's row. */
export interface FleetQuestion {
  /** The question's nonce, and those that count for it (`countingNonces`). */
  readonly nonces: readonly string[]
  /** `node/boot` of each process that verify met; null: the heartbeats alone decide. */
  readonly met: readonly string[] | null
}

/**
 * Promote's condition: null when every live heartbeat answers this rotation's question and verify has met its process,
 * else the refusal that names the first processes to ask. Settle deals with a silent process: its lease is over, it cannot
 * wrap. A loaded version, or a proof for an older question, does not count: a key can be lost or replaced silently.
 */
export function provenInAll(
  heartbeats: readonly HeartbeatFact[],
  version: number,
  { nonces, met }: FleetQuestion,
): KeyturnError | null {
  const appeared = met === null ? [] : appearedSince(heartbeats, met)
  const without = [...new Set([...unproven(heartbeats, version, nonces), ...appeared])]
  if (without.length === 0) return null
  const named = without.slice(0, 5).map(processName).join(', ')
  const more = without.length > 5 ? ` and ${without.length - 5} more` : ''
  return new KeyturnError('not-ready', `version "${version}" is not proven by ${named}${more}`, {
    hint: `run: keyturn verify --target ${version}`,
  })
}
