import type {
  FieldCensus,
  ProbedKey,
  RecordedFleetView,
  ReportView,
} from '../../contracts/report.ts'
import { count, plural, seconds } from './figures.ts'
import { table } from './tables.ts'
import { visible } from './visible.ts'

/** A rotation in sections: plan and result, phases, census, quarantine, fleet, keys, record. */
export function reportText(report: ReportView): string {
  const sections = [
    headOf(report),
    table(['', 'plan', 'truth'], planRows(report)),
    table(
      ['phase', 'began', 'took'],
      report.phases.map(({ phase, at, seconds: took }) => [phase, at, seconds(took)]),
    ),
    censusText(report),
    quarantineText(report),
    fleetText(report),
    keysText(report),
    approvalsText(report),
    eventsText(report),
  ]
  return sections.filter((section) => section !== '').join('\n\n')
}

function headOf(report: ReportView): string {
  const { rotation, from, to, outcome, phase, reason, requestedBy, startedAt, error } = report
  return [
    `rotation ${visible(rotation)}, v${from} to v${to}: ${outcome ?? phase}`,
    `by ${visible(requestedBy)}${reason === '' ? '' : `, "${visible(reason)}"`}, ${startedAt}`,
    ...(error === null ? [] : [`${error.code}: ${visible(error.message)}`]),
    ...(report.silent.length === 0
      ? []
      : [`silent nodes: ${report.silent.map(visible).join(', ')}`]),
  ].join('\n')
}

/** What, plan, truth; null: there is none. */
export function planRows({ plan, truth, hsmQuota }: ReportView): (string | null)[][] {
  const shown = (value: number | null | undefined) => (value == null ? null : count(value))
  return [
    ['envelopes', shown(plan?.envelopes), shown(truth.envelopes)],
    ['re-wrapped', null, count(truth.rewrapped)],
    ['superseded by applications', null, count(truth.superseded)],
    ['quarantined', null, count(truth.quarantined)],
    ['remaining now', '0', count(truth.remaining)],
    ['crypt calls', shown(plan?.hsmCalls), count(truth.hsmCalls)],
    [
      'crypt calls, limit',
      hsmQuota.max === null ? null : `at most ${count(hsmQuota.max)}`,
      hsmQuota.max === null ? null : `${count(hsmQuota.reserved)} reserved`,
    ],
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
}

/** Both counts of a field in a row. */
export interface CensusRow {
  collection: string
  field: string
  before: FieldCensus | null
  after: FieldCensus | null
}

export function censusRows({ before, after }: ReportView): CensusRow[] {
  const keyOf = ({ collection, field }: FieldCensus) => JSON.stringify([collection, field])
  const counts = new Map<string, { before: FieldCensus | null; after: FieldCensus | null }>()
  for (const each of before ?? []) counts.set(keyOf(each), { before: each, after: null })
  for (const each of after ?? []) {
    counts.set(keyOf(each), { before: counts.get(keyOf(each))?.before ?? null, after: each })
  }
  return [...counts.values()].map((row) => {
    const { collection, field } = row.before ?? row.after ?? { collection: null, field: null }
    return { ...row, collection: collection ?? 'further collections', field: field ?? '' }
  })
}

/** Columns of a census, before and after each. */
export const censusColumns = ['from', 'to', 'other', 'odd'] as const

function censusText(report: ReportView): string {
  const rows = censusRows(report)
  if (rows.length === 0) return ''
  const { from, to } = report
  const shown = (census: FieldCensus | null) =>
    censusColumns.map((column) => (census === null ? null : count(census[column])))
  const arrow = censusColumns.map((column) => {
    return column === 'from' ? `v${from}` : column === 'to' ? `v${to}` : column
  })
  return table(
    ['collection', 'field', ...arrow.map((name) => `${name} before`), ...arrow.map(after)],
    rows.map((row) => [
      visible(row.collection),
      visible(row.field),
      ...shown(row.before),
      ...shown(row.after),
    ]),
  )
}

const after = (name: string) => `${name} after`

function quarantineText({ quarantine }: ReportView): string {
  if (quarantine.length === 0) return ''
  return table(
    ['in quarantine', 'collection', 'field', 'code', 'for example'],
    quarantine.map(({ envelopes, collection, field, code, message }) => [
      count(envelopes),
      visible(collection),
      visible(field),
      visible(code),
      visible(message),
    ]),
  )
}

function fleetText({ fleet, software }: ReportView): string {
  const lines = [fleetLine('at promote', fleet.atPromote), fleetLine('at settle', fleet.atSettle)]
  const versions = software.map(({ software: name, processes }) => {
    return `${visible(name ?? 'not reported')} (${plural(processes, 'process', 'processes')})`
  })
  if (versions.length > 0) lines.push(`software: ${versions.join('; ')}`)
  return lines.filter((line) => line !== '').join('\n')
}

function fleetLine(when: string, fleet: RecordedFleetView | null): string {
  if (fleet === null) return ''
  const live = fleet.processes.filter((process) => process.live)
  const nodes = new Set(live.map(({ node }) => node)).size
  const silent = fleet.processes.length - live.length
  return (
    `fleet ${when}, ${fleet.at}: ${plural(live.length + fleet.more, 'process', 'processes')} on ${plural(nodes, 'node')}` +
    (silent === 0 ? '' : `, ${count(silent)} silent`)
  )
}

function keysText({ probe }: ReportView): string {
  return [probe.from, probe.to]
    .filter((key) => key !== null)
    .map((key) => `v${key.version}: ${visible(keyLine(key))}`)
    .join('\n')
}

/** Provider, label, maker, IV mode and token of a key. */
export function keyLine({ provider, label, origin, madeBy, gcm, token }: ProbedKey): string {
  return [
    `${provider} "${label}", ${origin} on ${madeBy}`,
    ...(gcm === null ? [] : [`IV ${gcm.ivMode}, ${gcm.ivLength} bytes, tag ${gcm.tagBits} bits`]),
    ...(token === null ? [] : [`token "${token.label}", ${token.model}, serial ${token.serial}`]),
  ].join('; ')
}

function approvalsText({ approvals }: ReportView): string {
  return approvals
    .map(({ request, requestedBy, approvedBy, digest }) => {
      const names = approvedBy.map(({ name, at }) => `${visible(name)} (${at})`).join(', ')
      return `request ${visible(request)} of ${visible(requestedBy)}, approved by ${names}; digest ${digest}`
    })
    .join('\n')
}

function eventsText({ events, auditHead }: ReportView): string {
  const rows = events.map(({ at, action, actor }) => [at, visible(action), visible(actor)])
  return [
    ...(rows.length === 0 ? [] : [table(['when', 'what', 'who'], rows), '']),
    `audit head: ${auditHead.head} (${plural(auditHead.entries, 'entry', 'entries')})`,
  ].join('\n')
}
