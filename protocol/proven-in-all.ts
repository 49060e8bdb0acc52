import { KeyturnError } from '../contracts/errors.ts'
import { isLive, processName, type HeartbeatFact } from './facts.ts'
import { hasAnswered } from './proof-question.ts'

/** The live processes that have not answered: who must be asked before promote, or named in its refusal. */
function unproven(
  heartbeats: readonly HeartbeatFact[],
  version: number,
  nonces: readonly string[],
): HeartbeatFact[] {
  return heartbeats.filter(
    (heartbeat) => isLive(heartbeat) && !hasAnswered(heartbeat, version, nonces),
  )
}

/** The live processes that verify has not met: they came up since, and are asked before promote. */
function appearedSince(
  heartbeats: readonly HeartbeatFact[],
  verified: readonly string[],
): HeartbeatFact[] {
  return heartbeats.filter((heartbeat) => isLive(heartbeat) && !verified.includes(heartbeat.id))
}

/**
 * Whether the answers to a question may be older than two leases, counted by one clock, the database's, from when it was
 * asked; null: nothing was asked. A clock that went backwards tells nothing: then it is old too.
 */
export function isQuestionOld(ageMs: number | null, leaseMs: number): boolean {
  return ageMs === null || ageMs < 0 || ageMs > 2 * leaseMs
}

export function oldQuestion(version: number): KeyturnError {
  return new KeyturnError(
    'not-ready',
    `the fleet proved version '${version}' more than two leases ago`,
    { hint: `run: keyturn verify --target ${version}` },
  )
}

/** What a rotation asked and whom it met, as its row has it. */
export interface AskedFleet {
  /** Its question's, and those that count for it (`countingNonces`). */
  readonly nonces: readonly string[]
  /** `node/boot` of each process that verify met; null: the heartbeats' own word counts for all. */
  readonly met: readonly string[] | null
}

/**
 * Promote's condition: null when every live heartbeat answers this rotation's question and verify has met its process,
 * else the refusal that names the first processes to ask. A silent process is settle's business: its lease is over, it
 * cannot wrap. That the version is loaded, or was proven for an older question, counts for nothing: a key can be lost or
 * replaced without a word.
 */
export function provenInAll(
  heartbeats: readonly HeartbeatFact[],
  version: number,
  { nonces, met }: AskedFleet,
): KeyturnError | null {
  const appeared = met === null ? [] : appearedSince(heartbeats, met)
  const without = [...new Set([...unproven(heartbeats, version, nonces), ...appeared])]
  if (without.length === 0) return null
  const named = without.slice(0, 5).map(processName).join(', ')
  const more = without.length > 5 ? ` and ${without.length - 5} more` : ''
  return new KeyturnError('not-ready', `version '${version}' is not proven by ${named}${more}`, {
    hint: `run: keyturn verify --target ${version}`,
  })
}
