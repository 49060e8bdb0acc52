import type { RemovalView } from '../../contracts/views.ts'
import { colours } from './colours.ts'
import { usesText } from './present-uses.ts'
import { table } from './tables.ts'

/** Where a removal stands, with every guard and every use. */
export function removalText(view: RemovalView): string {
  const { green, red } = colours()
  const due = view.dueAt === null ? '' : `, due ${view.dueAt}`
  const rows = view.guards.map(({ guard, ok, detail }) => [
    ok ? green('ok') : red('no'),
    guard,
    detail,
  ])
  const key = {
    destroyed: ', its HSM key destroyed',
    absent: ', no HSM key found',
    kept: '',
    none: '',
  }
  const head = `version ${view.version}: ${view.state}${due}${key[view.hsmKey]}`
  const parts = [
    head,
    ...(rows.length === 0 ? [] : [table(['', 'guard', 'detail'], rows)]),
    ...(view.uses.length === 0 ? [] : [usesText(view.uses)]),
  ]
  return parts.join('\n\n')
}
