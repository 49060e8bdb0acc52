import { KeyturnError } from '../contracts/errors.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import type { FleetSettings } from '../contracts/settings.ts'
import { readSettings, requireWhole } from '../store/kek-settings.ts'
import { identityOf, readInstall } from '../store/kek-install.ts'
import { readVersion } from '../store/kek-versions.ts'
import type { VersionDoc } from '../store/documents.ts'
import type { Store } from '../store/store.ts'

/** The settings that `setup` recorded for the whole fleet; this host's file does not count. Throws document-malformed, setup-missing. */
export async function requireSettings(store: Store): Promise<FleetSettings> {
  const row = await readSettings(store)
  if (row !== null) return requireWhole(row.settings)
  throw new KeyturnError('setup-missing', 'no settings are recorded in this database', {
    hint: 'run: keyturn setup',
  })
}

/** The identity of the open keystore. Throws setup-missing. */
export async function requireIdentity(store: Store): Promise<InstallIdentity> {
  const row = await readInstall(store)
  if (row !== null) return identityOf(row)
  throw new KeyturnError('setup-missing', `"${store.db.databaseName}" is no keystore`, {
    hint: 'run: keyturn setup',
  })
}

/** The row of a version that is installed, removed ones included. */
export async function requireInstalled(store: Store, version: number): Promise<VersionDoc> {
  const row = await readVersion(store, version)
  if (row !== null && row.canary !== null) return row
  throw new KeyturnError('version-unknown', `version "${version}" is not installed`, {
    hint: 'keyturn status lists the versions',
  })
}
