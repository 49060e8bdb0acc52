import type { QuarantineView } from '../../contracts/views.ts'
import { table } from './tables.ts'

export function quarantineText(envelopes: readonly QuarantineView[]): string {
  if (envelopes.length === 0) return 'nothing is in quarantine'
  const rows = envelopes.map(({ collection, id, field, kekVersion, code, rotation }) => [
    collection,
    typeof id === 'string' ? id : JSON.stringify(id),
    field,
    `v${kekVersion}`,
    code,
    rotation,
  ])
  return table(['collection', 'id', 'field', 'version', 'code', 'rotation'], rows)
}
