import type { InstallResult } from '../../contracts/install.ts'
import { colours } from './colours.ts'

/** What an init command did, and what comes next. */
export function installText(result: InstallResult): string {
  const { green, yellow } = colours()
  const { version, label, provider, madeBy, created, active } = result
  const done = created ? green('installed') : 'is installed already'
  const next = active
    ? 'it is active: applications seal under it'
    : `next: keyturn verify --target ${version}, then keyturn rotate --to-version ${version}`
  const warnings = result.probe?.warnings ?? []
  return [
    `version ${version} ${done}: "${label}" (${provider}, by ${madeBy})`,
    ...warnings.map((warning) => `${yellow('warning')} ${warning}`),
    next,
  ].join('\n')
}
