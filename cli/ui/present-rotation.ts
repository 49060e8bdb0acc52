import type { RotationAnswer } from '../../client/rotate.ts'
import type { HsmBudget, RotationPlan } from '../../contracts/rotation-plan.ts'
import { colours } from './colours.ts'
import { count, plural, seconds } from './figures.ts'
import { table } from './tables.ts'

/** The outcome of a rotation, in a few lines. */
export function rotationText(answer: RotationAnswer): string {
  const { rotationId, from, to, outcome } = answer
  const { green, yellow, red } = colours()
  const title = `rotation ${rotationId}, v${from} to v${to}`
  if (outcome === 'started') return `${title}: it runs`
  const colour = outcome === 'completed' ? green : outcome === 'failed' ? red : yellow
  const rate = answer.durationSeconds > 0 ? answer.rewrapped / answer.durationSeconds : 0
  const lines = [
    `${colour(outcome)}  ${title}, ${seconds(answer.durationSeconds)}`,
    `${plural(answer.rewrapped, 'envelope')} re-wrapped (${count(rate)}/s), ${count(answer.superseded)} superseded, ` +
      `${count(answer.quarantined)} in quarantine, ${count(answer.remaining)} remaining, ${plural(answer.hsmCalls, 'crypt call')}`,
  ]
  if (answer.auditHead !== undefined) {
    const { entries, head } = answer.auditHead
    lines.push(`audit head: ${head} (${plural(entries, 'entry', 'entries')})`)
  }
  if (answer.silent.length > 0) lines.push(`silent nodes: ${answer.silent.join(', ')}`)
  return lines.join('\n')
}

/** The output of `rotate --dry-run`. */
export function planText(plan: RotationPlan & { from: number; to: number }): string {
  const rows = plan.collections.map(({ collection, field, envelopes }) => [
    collection,
    field,
    envelopes,
  ])
  return [
    `v${plan.from} to v${plan.to} would re-wrap ${plural(plan.envelopes, 'envelope')} with ` +
      `${plural(plan.hsmCalls, 'crypt call')}, in about ${seconds(plan.estimatedSeconds)}`,
    basisText(plan),
    budgetText(plan.hsmBudget),
    ...(plan.hsmQuota === null ? [] : [quotaText(plan.hsmQuota)]),
    '',
    table(['collection', 'field', 'envelopes'], rows),
  ].join('\n')
}

function basisText({ basis, sample }: RotationPlan): string {
  if (basis === 'sample' && sample !== null) {
    const milliseconds = Math.round(sample.tokenSeconds * 1_000)
    return `timed: ${plural(sample.envelopes, 'envelope')} in ${count(milliseconds)} ms of the token; nothing was written`
  }
  const goesBy = basis === 'last-rotation' ? 'the last rotation' : 'what is usual on two cores'
  return `not timed: the duration goes by ${goesBy}`
}

function quotaText({ max, enough }: NonNullable<RotationPlan['hsmQuota']>): string {
  const verdict = enough ? 'is enough' : 'is not enough: it would pause with hsm-budget'
  return `--max-hsm-calls ${count(max)} ${verdict}`
}

/** The crypt calls that each activity costs, for a key store that bills or limits calls. */
export function budgetText({ standingPerDay, verify, rotation, scan }: HsmBudget): string {
  return (
    `crypt calls: standing still ${count(standingPerDay)} a day, verify ${count(verify)}, ` +
    `rotation ${count(rotation)}, scan --unwrap ${count(scan)}`
  )
}
