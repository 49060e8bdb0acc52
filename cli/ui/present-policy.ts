import type { PolicyView } from '../../contracts/views.ts'
import type { Answer } from '../answer.ts'

/** A policy in a few lines. */
function policyText(policy: PolicyView): string {
  const { everyDays, at, removeAfterDays, maxHsmCalls, paused, nextRun, lastRun } = policy
  const removal =
    removeAfterDays === null
      ? 'the old version stays'
      : `the old version's removal is requested after ${removeAfterDays} days`
  return [
    `rotation every ${everyDays} days at ${at} UTC; ${removal}`,
    ...(maxHsmCalls === null ? [] : [`each may spend ${maxHsmCalls} crypt calls`]),
    paused ? 'paused' : `next run ${nextRun ?? 'unknown'}`,
    `last run ${lastRun ?? 'never'}`,
  ].join('\n')
}

export function policyAnswer(policy: PolicyView): Answer {
  return { json: { policy }, text: policyText(policy) }
}
