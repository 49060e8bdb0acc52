import { spawnSync } from 'node:child_process'

/** Whether all these programs are on this machine; says which are not, since tests are skipped without them. */
export function hasTools(...names: readonly string[]): boolean {
  const lacking = names.filter((name) => spawnSync('which', [name]).status !== 0)
  if (lacking.length > 0) console.warn(`skipped: there is no ${lacking.join(', ')} here`)
  return lacking.length === 0
}
