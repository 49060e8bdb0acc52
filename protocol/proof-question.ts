import type { ProofQuestion } from '../contracts/fleet.ts'
import { isCredible, type HeartbeatFact } from './facts.ts'

/** Whether a question asks for a proof of this version. */
export function isNamed({ target }: ProofQuestion, version: number): boolean {
  return target === null || target === version
}

/**
 * The nonces whose answers count for who asked with `nonce`: his own, and those of the questions that came after it and
 * name the version too. Only one question stands at a time; whoever asks while another one is open replaces it with one
 * that names both versions, and a process that had not answered the first answers the second: its proof is even younger.
 * `asked` are the open questions, the one that stands last.
 */
export function countingNonces(
  asked: readonly ProofQuestion[],
  nonce: string,
  version: number,
): string[] {
  const at = asked.findIndex((question) => question.nonce === nonce)
  if (at < 0) return [nonce]
  const later = asked.slice(at + 1).filter((question) => isNamed(question, version))
  return [nonce, ...later.map((question) => question.nonce)]
}

/** Whether a process has proven the version for one of these questions. Nothing follows from its clock, or from ours. */
export function hasAnswered(
  heartbeat: HeartbeatFact,
  version: number,
  nonces: readonly string[],
): boolean {
  if (!isCredible(heartbeat)) return false
  return heartbeat.loaded.some(
    ({ version: proven, answers }) =>
      proven === version && answers !== null && nonces.includes(answers),
  )
}
