import type { RemovalView } from '../../contracts/views.ts'
import { colours } from './colours.ts'
import { table } from './tables.ts'

/** Where a removal stands, with every guard. */
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
  return rows.length === 0 ? head : `${head}\n\n${table(['', 'guard', 'detail'], rows)}`
}
