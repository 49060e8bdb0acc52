import type { QuarantineView } from '../../contracts/views.ts'
import type { Config } from '../../contracts/settings.ts'
import type { QuarantineDoc } from '../../store/documents.ts'
import { listQuarantine } from '../../store/rewrap-quarantine.ts'
import { withKeystore } from '../keystore.ts'
import { ejson } from '../views/ejson.ts'

/** The envelopes that could not be opened or written, each with its reason. */
export async function readQuarantine(config: Config): Promise<{ envelopes: QuarantineView[] }> {
  return withKeystore(config, async ({ store }) => {
    const rows = await listQuarantine(store)
    return { envelopes: rows.map(quarantineView) }
  })
}

export function quarantineView(row: QuarantineDoc): QuarantineView {
  return {
    collection: row._id.collection,
    id: row.code === 'odd-many' ? null : ejson(row._id.id),
    field: row._id.field,
    kekVersion: row.kek_version,
    code: row.code,
    message: row.message,
    rotation: row.rotation,
    firstSeen: row.first_seen.toISOString(),
    attempts: row.attempts,
    count: row.count ?? 1,
  }
}
