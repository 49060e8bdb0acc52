import { KeyturnError } from '../contracts/errors.ts'
import { isCredible, isLive, processName, type HeartbeatFact } from './facts.ts'

/** The live processes that have not proven a version: who must be asked before promote, or named in its refusal. */
export function unproven(heartbeats: readonly HeartbeatFact[], version: number): HeartbeatFact[] {
  return heartbeats.filter(
    (heartbeat) =>
      isLive(heartbeat) &&
      !(isCredible(heartbeat) && heartbeat.loaded.some((loaded) => loaded.version === version)),
  )
}

/** The live processes that verify has not met: they came up since, and are asked before promote. */
export function appearedSince(
  heartbeats: readonly HeartbeatFact[],
  verified: readonly string[],
): HeartbeatFact[] {
  return heartbeats.filter((heartbeat) => isLive(heartbeat) && !verified.includes(heartbeat.id))
}

/**
 * Promote's condition: null when every live heartbeat carries a proof of the version and verify has met its process, else
 * the refusal that names the first processes to ask. A silent process is settle's business: its lease is over, it cannot
 * wrap. Without `verified` (`node/boot` of each process that verify met), the heartbeats' own word counts for all.
 */
export function provenInAll(
  heartbeats: readonly HeartbeatFact[],
  version: number,
  verified: readonly string[] | null = null,
): KeyturnError | null {
  const appeared = verified === null ? [] : appearedSince(heartbeats, verified)
  const without = [...new Set([...unproven(heartbeats, version), ...appeared])]
  if (without.length === 0) return null
  const named = without.slice(0, 5).map(processName).join(', ')
  const more = without.length > 5 ? ` and ${without.length - 5} more` : ''
  return new KeyturnError('not-ready', `version '${version}' is not proven by ${named}${more}`, {
    hint: `run: keyturn verify --target ${version}`,
  })
}
