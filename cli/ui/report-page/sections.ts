import type {
  FieldCensus,
  ProbedKey,
  RecordedFleetView,
  ReportView,
} from '../../../contracts/report.ts'
import { count, plural, seconds } from '../figures.ts'
import { censusColumns, censusRows, planRows } from '../present-report.ts'
import { rateChart } from './chart.ts'
import { markup, type Markup } from './markup.ts'

/** The sections of the page, one for each question that a reader has. A section without content says so. */

type Cell = string | number | null

/** Numbers stand on the right; null is a dash. */
function table(head: readonly string[], rows: readonly (readonly Cell[])[]): Markup {
  if (rows.length === 0) return markup`<p class="faint">None.</p>`
  return markup`<div class="scroll"><table>
<thead><tr>${head.map((title) => markup`<th scope="col">${title}</th>`)}</tr></thead>
<tbody>
${rows.map((row) => markup`<tr>${row.map(cell)}</tr>\n`)}</tbody></table></div>`
}

function cell(value: Cell): Markup {
  if (typeof value === 'number') return markup`<td class="number">${count(value)}</td>`
  return markup`<td>${value ?? '–'}</td>`
}

function section(title: string, ...content: readonly (Markup | null)[]): Markup {
  const there = content.filter((each) => each !== null)
  return markup`<section><h2>${title}</h2>
${there}</section>
`
}

export function sectionsOf(report: ReportView): Markup[] {
  return [
    section('Plan and result', table(['', 'plan', 'result'], planRows(report)), rateChart(report)),
    section('Phases', phases(report)),
    section('Envelopes before and after', census(report)),
    section('In quarantine', quarantine(report)),
    section('The fleet', ...fleet(report)),
    section('Keys', keys(report)),
    section('Approvals', approvals(report)),
    section('Who did what', events(report)),
    section('Record', record(report)),
  ]
}

function phases({ phases: all }: ReportView): Markup {
  return table(
    ['phase', 'began', 'took'],
    all.map(({ phase, at, seconds: took }) => [phase, at, seconds(took)]),
  )
}

function census(report: ReportView): Markup {
  const { from, to } = report
  const names = { from: `v${from}`, to: `v${to}`, other: 'other versions', odd: 'odd' }
  const titles = (when: string) => censusColumns.map((column) => `${names[column]} ${when}`)
  const counts = (census: FieldCensus | null) =>
    censusColumns.map((column) => census?.[column] ?? null)
  return table(
    ['collection', 'field', ...titles('before'), ...titles('after')],
    censusRows(report).map(({ collection, field, before, after }) => {
      return [collection, field, ...counts(before), ...counts(after)]
    }),
  )
}

function quarantine({ quarantine: reasons }: ReportView): Markup {
  return table(
    ['envelopes', 'collection', 'field', 'code', 'for example'],
    reasons.map(({ envelopes, collection, field, code, message }) => {
      return [envelopes, collection, field, code, message]
    }),
  )
}

function fleet({ fleet: { atPromote, atSettle }, software, silent }: ReportView): Markup[] {
  const versions = software.map(({ software: name, processes }) => [
    name ?? 'not reported',
    processes,
  ])
  return [
    processes('At promote', atPromote),
    processes('At settle', atSettle),
    markup`<p>Silent nodes at the end: ${silent.length === 0 ? 'none' : silent.join(', ')}.</p>`,
    table(['software', 'processes'], versions),
  ]
}

function processes(title: string, fleet: RecordedFleetView | null): Markup {
  if (fleet === null) return markup`<p class="faint">${title}: not reached.</p>`
  const { at, processes: all, more } = fleet
  const rows = all.map(({ node, role, pid, live, current, epoch, loaded, software }) => [
    node,
    role,
    String(pid),
    live ? 'live' : 'silent',
    current === null ? null : `v${current}`,
    epoch === null ? null : String(epoch),
    loaded.map((version) => `v${version}`).join(', '),
    software,
  ])
  const head = ['node', 'role', 'pid', 'state', 'wraps under', 'epoch', 'has', 'software']
  const further = more === 0 ? '' : ` The table shows the first ${count(all.length)}.`
  return markup`<p>${title}, ${at}: ${plural(all.length + more, 'process', 'processes')}.${further}</p>
${table(head, rows)}`
}

function keys({ probe }: ReportView): Markup {
  const there = [probe.from, probe.to].filter((key) => key !== null)
  const head = ['version', 'provider', 'label', 'origin', 'installed', 'IV', 'tag', 'token']
  return table(head, there.map(keyRow))
}

function keyRow({
  version,
  provider,
  label,
  origin,
  madeBy,
  createdAt,
  gcm,
  token,
}: ProbedKey): Cell[] {
  return [
    `v${version}`,
    provider,
    label,
    origin,
    `${createdAt} on ${madeBy}`,
    gcm === null ? null : `${gcm.ivMode}, ${gcm.ivLength} bytes`,
    gcm === null ? null : `${gcm.tagBits} bits`,
    token === null ? null : `${token.label}: ${token.manufacturer} ${token.model}, ${token.serial}`,
  ]
}

function approvals({ approvals: all }: ReportView): Markup {
  return table(
    ['request', 'requested by', 'approved by', 'digest of the text'],
    all.map(({ request, requestedBy, requestedAt, approvedBy, digest }) => [
      request,
      `${requestedBy}, ${requestedAt}`,
      approvedBy.map(({ name, at }) => `${name}, ${at}`).join('; '),
      digest,
    ]),
  )
}

function events({ events: all }: ReportView): Markup {
  return table(
    ['when', 'what', 'who'],
    all.map(({ at, action, actor }) => [at, action, actor]),
  )
}

function record({ auditHead, workflowId, runId, options, install }: ReportView): Markup {
  const { page, shards, check, priority } = options
  const rows = [
    ['head of the audit', `${auditHead.head} (${plural(auditHead.entries, 'entry', 'entries')})`],
    ['workflow', `${workflowId}, run ${runId ?? 'unknown'}`],
    ['keystore', `${install.name}, ${install.id ?? 'without id'}`],
    ['options', `check ${check}, page ${page}, shards ${shards}, priority ${priority}`],
  ]
  return table(['', ''], rows)
}
