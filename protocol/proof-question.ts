import type { ProofQuestion } from '../contracts/fleet.ts'
import { isCredible, type HeartbeatFact } from './facts.ts'

/** Whether a question asks for a proof of this version. */
export function isNamed({ target }: ProofQuestion, version: number): boolean {
  return target === null || target === version
}

/**
 * The nonces whose answers count for the question with `nonce`: its own, and those of later questions that also name the
 * version. Only one question is current; a new one that is asked while another is open replaces it with one that names
 * both versions, and a process that had not answered the first answers the second, with a younger proof.
 * `questions`: the open ones, the current one last.
 */
export function countingNonces(
  questions: readonly ProofQuestion[],
  nonce: string,
  version: number,
): string[] {
  const at = questions.findIndex((question) => question.nonce === nonce)
  if (at < 0) return [nonce]
  const later = questions.slice(at + 1).filter((question) => isNamed(question, version))
  return [nonce, ...later.map((question) => question.nonce)]
}

/** Whether a process has proven the version for one of these questions. No clock takes part. */
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
