import type { ProbeReport } from '../../contracts/kek.ts'
import { colours } from './colours.ts'
import { table } from './tables.ts'

const support: Record<string, string> = {
  run: 'run with the tests',
  read: 'built to its documents, never met: please report what you see',
  doubtful: 'AES-GCM is unlikely',
  unsupported: 'not supported',
}

/** What a token can do, phase by phase. */
export function probeText(report: ProbeReport): string {
  const { green, red, yellow } = colours()
  const { gcm, sessions } = report
  const caution = report.vendor?.caution ?? null
  const warnings = [...(caution === null ? [] : [caution]), ...report.warnings]
  return [
    `module   ${report.module}`,
    ...(report.vendor === null ? [] : [vendorLine(report.vendor)]),
    tokenLine(report.token),
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
    ...(gcm === null
      ? []
      : [`AES-GCM  IV by ${gcm.ivMode}, ${gcm.ivLength} bytes, tag ${gcm.tagBits} bits`]),
    `sessions ${sessions.max === null ? 'no limit' : `at most ${sessions.max}`}`,
    ...warnings.map((warning) => `${yellow('warning')}  ${warning}`),
    report.usable ? green('usable') : red('not usable'),
  ].join('\n')
}

function vendorLine(vendor: NonNullable<ProbeReport['vendor']>): string {
  return `vendor   ${vendor.name} (${support[vendor.support] ?? vendor.support}; ${vendor.page})`
}

function tokenLine(token: ProbeReport['token']): string {
  if (token === null) return 'token    -'
  const { label, serial, manufacturer, model, firmware } = token
  return `token    ${label} (serial ${serial}, ${manufacturer} ${model}, firmware ${firmware})`
}
