import type { UseView } from '../../contracts/uses.ts'
import { table } from './tables.ts'

/** Who still asks for a version. */
export function usesText(uses: readonly (UseView & { version?: number })[]): string {
  return table(
    ['used by', 'envelopes', 'for', 'last at'],
    uses.map(({ version, node, role, pid, collection, field, count, lastAt }) => [
      `${version === undefined ? '' : `v${version}: `}${node} (${role}, pid ${pid})`,
      count,
      `${collection}.${field}`,
      lastAt,
    ]),
  )
}
