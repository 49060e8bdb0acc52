import { randomBytes } from 'node:crypto'
import { hostname, userInfo } from 'node:os'

/** `r-2026-11-21-k3f9qa`: sorts by day, and two started in one second differ. */
export function newRotationId(now: Date = new Date()): string {
  return `r-${now.toISOString().slice(0, 10)}-${randomLetters(6)}`
}

/** The id of one removal; every decisive write of it is filtered by this id. */
export function newRemovalRequest(now: Date = new Date()): string {
  return `d-${now.toISOString().slice(0, 10)}-${randomLetters(6)}`
}

/** The requester as written into the record: `alice@ops-1`. */
export function requester(): string {
  return `${userName()}@${hostname()}`
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // A container may run under a uid that has no entry in passwd.
    return `uid-${process.getuid?.() ?? 'unknown'}`
  }
}

function randomLetters(length: number): string {
  const alphabet = 'abcdefghjkmnpqrstuvwxyz23456789'
  return Array.from(randomBytes(length), (byte) => alphabet[byte % alphabet.length]).join('')
}
