import { settingsOf } from '../config/settings.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config, FleetSettings } from '../contracts/settings.ts'
import type { InstallDoc } from '../store/documents.ts'
import { requireInstall } from '../store/kek-install.ts'
import { readSettings } from '../store/kek-settings.ts'
import { withStore, type Store } from '../store/store.ts'

/** The keystore of a configuration, after its lock was read. */
export interface Keystore {
  readonly store: Store
  /** Null: nothing was installed in this database yet. */
  readonly install: InstallDoc | null
  /** What `setup` recorded; where it has not run, what the file says. */
  readonly settings: FleetSettings
  readonly isSetUp: boolean
}

/**
 * Opens the keystore for `use` and closes it after. Throws mongodb-unreachable within 5 s, and install-locked when
 * the database belongs to another install or provider than the file says.
 */
export async function withKeystore<T>(
  config: Config,
  use: (keystore: Keystore) => Promise<T>,
): Promise<T> {
  return withStore(config.mongodb, async (store) => {
    const { provider } = config.kek
    const install = await requireInstall(store, { install: config.install, provider })
    const recorded = await readSettings(store)
    const settings = recorded?.settings ?? settingsOf(config)
    return use({ store, install, settings, isSetUp: recorded !== null })
  })
}

/** The lock, for commands that make no sense before an installation. Throws not-installed, setup-missing. */
export function requireInstalled(keystore: Keystore, config: Config): InstallDoc {
  if (!keystore.isSetUp) {
    throw new KeyturnError('setup-missing', `setup was not run for "${config.mongodb.database}"`, {
      hint: 'run: keyturn setup',
    })
  }
  if (keystore.install !== null) return keystore.install
  throw new KeyturnError('not-installed', `no key is installed in "${config.mongodb.database}"`, {
    hint: `run: keyturn ${config.kek.provider}-init --version 1`,
  })
}
