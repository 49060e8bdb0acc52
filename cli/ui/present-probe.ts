import type { ProbeReport } from '../../contracts/kek.ts'
import { colours } from './colours.ts'
import { table } from './tables.ts'

/** What a token can do, phase by phase. */
export function probeText(report: ProbeReport): string {
  const { green, red } = colours()
  const { token, gcm, sessions } = report
  const lines = [
    `module   ${report.module}`,
    token === null
      ? 'token    -'
      : `token    ${token.label} (serial ${token.serial}, ${token.manufacturer} ${token.model}, firmware ${token.firmware})`,
    '',
    table(
      ['', 'phase', 'ms', 'detail'],
      report.phases.map(({ phase, ok, detail, milliseconds }) => [
        ok ? green('ok') : red('no'),
        phase,
        Math.round(milliseconds),
        detail,
      ]),
    ),
    '',
  ]
  if (gcm !== null) {
    lines.push(`AES-GCM  IV by ${gcm.ivMode}, ${gcm.ivLength} bytes, tag ${gcm.tagBits} bits`)
  }
  lines.push(`sessions ${sessions.max === null ? 'no limit' : String(sessions.max)}`)
  lines.push(report.usable ? green('usable') : red('not usable'))
  return lines.join('\n')
}
