import type { ApprovalRequestView } from '../../contracts/approvals.ts'
import { table } from './tables.ts'

/** One request: what is asked for, where it stands, and exactly what approvers sign. */
export function requestText(request: ApprovalRequestView): string {
  const { id, action, subject, state, requestedBy, requestedAt, expiresAt } = request
  const lines = [
    `request ${id}: ${action} of ${subject}, ${state}`,
    `requested by ${requestedBy}, ${requestedAt}; expires ${expiresAt}`,
    `approvals: ${approvalsText(request)}`,
    '',
    ...optionLines(request),
    '',
    'text to sign:',
    request.text,
    `sha256 ${request.digest}`,
  ]
  return lines.map(visible).join('\n')
}

export function requestsText(requests: readonly ApprovalRequestView[]): string {
  if (requests.length === 0) return 'no request is open'
  const rows = requests.map((each) =>
    [
      each.id,
      each.action,
      each.subject,
      each.state,
      approvalsText(each),
      each.requestedBy,
      each.expiresAt,
    ].map(visible),
  )
  return table(['id', 'action', 'subject', 'state', 'approvals', 'requested by', 'expires'], rows)
}

/** Characters that a terminal obeys or hides are written as escapes: an approver has to see what is signed. */
function visible(line: string): string {
  return line.replaceAll(
    /[\p{C}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  )
}

function approvalsText({ required, approvedBy }: ApprovalRequestView): string {
  const names = approvedBy.length === 0 ? '' : ` (${approvedBy.join(', ')})`
  return `${approvedBy.length} of ${required}${names}`
}

/** Lists with a line for each entry. */
function optionLines({ options }: ApprovalRequestView): string[] {
  return Object.entries(options).flatMap(([name, value]) =>
    Array.isArray(value)
      ? [`  ${name}:`, ...value.map((each) => `    ${shown(each)}`)]
      : [`  ${name}: ${shown(value)}`],
  )
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
