import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import type { QuarantineView } from '../../contracts/views.ts'
import type { AuditEntry } from '../../store/audit-outbox.ts'
import { listQuarantine, releaseRow } from '../../store/rewrap-quarantine.ts'
import { withOwnKeystore } from '../keystore.ts'
import { requester } from '../temporal/names.ts'
import { quarantineView } from './list.ts'
import { ejson } from '../views/ejson.ts'

/** Which rows to release; an absent member matches all. `id` is EJSON, or the text of a string id. */
export interface Selection {
  collection?: string
  field?: string
  id?: string
}

/**
 * Deletes quarantine rows and leaves the envelopes as they are: the census counts them again, and the next rotation tries
 * them again. `ask` gets the envelopes that would be released. Throws `not-quarantined` where nothing matches.
 */
export async function releaseQuarantine(
  config: Config,
  selection: Selection,
  ask: (envelopes: QuarantineView[]) => Promise<void>,
): Promise<{ released: QuarantineView[] }> {
  return withOwnKeystore(config, async ({ store }) => {
    const rows = (await listQuarantine(store)).filter(({ _id }) => matches(_id, selection))
    if (rows.length === 0) {
      throw new KeyturnError('not-quarantined', 'no such envelope is in quarantine', {
        hint: 'keyturn quarantine list shows collection, id and field',
      })
    }
    await ask(rows.map(quarantineView))
    const released: QuarantineView[] = []
    for (const row of rows) {
      const view = quarantineView(row)
      // Only the row that was shown: a rotation may have replaced it with one for other bytes.
      if (await releaseRow(store, row, releaseEntry(view))) released.push(view)
    }
    return { released }
  })
}

function releaseEntry({ collection, id, field, kekVersion, code }: QuarantineView): AuditEntry {
  return {
    actor: requester(),
    action: 'quarantine-released',
    subject: `v${kekVersion}`,
    details: { collection, id, field, code },
  }
}

function matches(
  row: { collection: string; field: string; id: unknown },
  { collection, field, id }: Selection,
): boolean {
  if (collection !== undefined && collection !== row.collection) return false
  if (field !== undefined && field !== row.field) return false
  if (id === undefined) return true
  const shown = ejson(row.id)
  return shown === id || JSON.stringify(shown) === compact(id)
}

/** The form of `quarantine list --json`, whatever white space was typed. */
function compact(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}
