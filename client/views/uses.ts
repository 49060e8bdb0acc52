import type { UseView } from '../../contracts/uses.ts'
import { useFact } from '../../protocol/removal-facts.ts'
import type { UseDoc, VersionDoc } from '../../store/documents.ts'
import { readNewestUses, readUses } from '../../store/kek-uses.ts'
import type { Store } from '../../store/store.ts'

/** Uses of a version since its removal was requested, or all that are recorded. The newest first. */
export async function usesOf(store: Store, row: VersionDoc): Promise<UseView[]> {
  const { uses } = await readUses(store, row._id)
  return uses.filter((use) => isShown(use, row)).map(useFact)
}

/** The same for all versions that are not destroyed. */
export async function usesOfAll(
  store: Store,
  rows: readonly VersionDoc[],
): Promise<(UseView & { version: number })[]> {
  const kept = new Map(
    rows.filter(({ destroyed_at }) => destroyed_at === null).map((row) => [row._id, row]),
  )
  const uses = await readNewestUses(store)
  return uses
    .filter((use) => {
      const row = kept.get(use._id.version)
      return row !== undefined && isShown(use, row)
    })
    .map((use) => ({ version: use._id.version, ...useFact(use) }))
}

function isShown({ last_at }: UseDoc, { removal }: VersionDoc): boolean {
  return removal === null || last_at >= removal.requested_at
}
