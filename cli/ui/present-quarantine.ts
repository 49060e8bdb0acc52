import { clipped } from '../../contracts/clipped.ts'
import type { QuarantineView } from '../../contracts/views.ts'
import { table } from './tables.ts'

export function quarantineText(envelopes: readonly QuarantineView[]): string {
  if (envelopes.length === 0) return 'nothing is in quarantine'
  const rows = envelopes.map(({ collection, id, field, kekVersion, code, rotation, count }) => [
    collection,
    count > 1 ? `${count} records` : clipped(typeof id === 'string' ? id : JSON.stringify(id)),
    field,
    kekVersion === null ? 'odd' : `v${kekVersion}`,
    code,
    rotation ?? '',
  ])
  return table(['collection', 'id', 'field', 'version', 'code', 'rotation'], rows)
}
