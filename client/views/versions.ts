import { KeyturnError } from '../../contracts/errors.ts'
import type { VersionState } from '../../contracts/kek.ts'
import { versionState } from '../../protocol/version-state.ts'
import type { VersionDoc } from '../../store/documents.ts'
import { readActive } from '../../store/kek-active.ts'
import { readVersion } from '../../store/kek-versions.ts'
import type { Store } from '../../store/store.ts'

/** An installed version, in any state. Throws version-unknown for an unfinished installation and an unknown number. */
export async function requireVersion(
  store: Store,
  version: number,
): Promise<{ row: VersionDoc; state: VersionState }> {
  const [row, active] = await Promise.all([readVersion(store, version), readActive(store)])
  const state = row === null ? 'installing' : versionState(row, active?.version ?? null)
  if (row !== null && state !== 'installing') return { row, state }
  throw new KeyturnError('version-unknown', `version "${version}" is not installed`, {
    hint: 'keyturn status lists the versions that are there',
  })
}
