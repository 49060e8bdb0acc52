import { readinessHints, type ReadinessReport } from '../../contracts/fleet.ts'
import { colours } from './colours.ts'
import { linesAtMost } from './present-fleet.ts'
import { table } from './tables.ts'

/** Who can use a version, and for each that cannot, why and what to do. */
export function readinessText(report: ReadinessReport): string {
  const { green, red, dim } = colours()
  // Of a large fleet only those that are not ready are of interest.
  const isLarge = report.nodes.length > linesAtMost
  const shown = isLarge ? report.nodes.filter((node) => !node.ready) : report.nodes
  const rows = shown.map(({ node, role, pid, ready, reason, provenAt }) => [
    node,
    role,
    pid,
    ready ? green('ready') : red(reason ?? 'not ready'),
    provenAt,
  ])
  const reasons = new Set(report.nodes.flatMap(({ reason }) => (reason === null ? [] : [reason])))
  const lines = [
    report.ready
      ? green(`version ${report.target} is usable on the whole fleet`)
      : red(`version ${report.target} is not usable everywhere`),
    '',
    ...(rows.length > 0 ? [table(['node', 'role', 'pid', 'state', 'proven at'], rows)] : []),
    ...(isLarge ? [`${report.nodes.length - shown.length} processes are ready`] : []),
    ...[...reasons].map((reason) => `${reason}: ${readinessHints[reason]}`),
  ]
  if (report.ready && !report.crossChecked) {
    lines.push(dim('a fleet of one: it opened its own proof'))
  }
  return lines.join('\n')
}
