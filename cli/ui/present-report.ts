import type { ReportView } from '../../contracts/views.ts'
import { count, seconds } from './figures.ts'
import { table } from './tables.ts'

/** Plan and result in two columns, then the phases. */
export function reportText(report: ReportView): string {
  const { plan, truth, error } = report
  const shown = (value: number | null | undefined) => (value == null ? null : count(value))
  const rows: (string | null)[][] = [
    ['envelopes', shown(plan?.envelopes), shown(truth.envelopes)],
    ['re-wrapped', null, count(truth.rewrapped)],
    ['superseded by applications', null, count(truth.superseded)],
    ['quarantined', null, count(truth.quarantined)],
    ['remaining now', '0', count(truth.remaining)],
    ['crypt calls', shown(plan?.hsmCalls), count(truth.hsmCalls)],
    [
      'duration',
      plan === null ? null : seconds(plan.durationSeconds),
      seconds(truth.durationSeconds),
    ],
    [
      'envelopes a second',
      plan === null || plan.maxRate === 0 ? null : `at most ${count(plan.maxRate)}`,
      shown(truth.ratePerSecond),
    ],
  ]
  return [
    `rotation ${report.rotation}, v${report.from} to v${report.to}: ${report.outcome ?? report.phase}`,
    `by ${report.requestedBy}${report.reason === '' ? '' : `, "${report.reason}"`}, ${report.startedAt}`,
    ...(error === null ? [] : [`${error.code}: ${error.message}`]),
    ...(report.silent.length === 0 ? [] : [`silent nodes: ${report.silent.join(', ')}`]),
    '',
    table(['', 'plan', 'truth'], rows),
    '',
    table(
      ['phase', 'began', 'took'],
      report.phases.map(({ phase, at, seconds: took }) => [phase, at, seconds(took)]),
    ),
  ].join('\n')
}
