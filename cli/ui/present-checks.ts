import type { Check } from '../../client/doctor/check.ts'
import { colours } from './colours.ts'

/** A line for each check, with the hint after a failed one. */
export function checksText(checks: Check[]): string {
  const { green, yellow, red, dim } = colours()
  const marks = { ok: green('ok  '), warn: yellow('warn'), fail: red('fail') }
  const width = Math.max(...checks.map(({ check }) => check.length))
  return checks
    .map(({ check, state, detail, cure }) => {
      const end = cure === null ? '' : dim(`  → ${cure}`)
      return `${marks[state]}  ${check.padEnd(width)}  ${detail}${end}`
    })
    .join('\n')
}
