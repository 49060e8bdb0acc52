import { settingsOf } from '../config/settings.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import type { Config, FleetSettings } from '../contracts/settings.ts'
import type { InstallDoc } from '../store/documents.ts'
import { readHome } from '../store/keystore-home.ts'
import { compareHome } from '../protocol/keystore-home.ts'
import { noteCopied } from './copied-keystores.ts'
import { identityOf, recordHome, requireInstall } from '../store/kek-install.ts'
import { readSettings, requireWhole } from '../store/kek-settings.ts'
import { withStore, type Store } from '../store/store.ts'

/** The keystore of a configuration, after its lock was read. */
export interface Keystore {
  readonly store: Store
  /** Null: `setup` has not run in this database. */
  readonly install: InstallDoc | null
  /** What `setup` recorded; where it has not run, what the file says. */
  readonly settings: FleetSettings
  readonly isSetUp: boolean
  /** The keystore is not where it was recorded: it is a copy, or was moved or restored. Changes are refused. */
  readonly copied: boolean
}

/**
 * Opens the keystore for `use` and closes it after. Throws mongodb-unreachable within 5 s, install-locked when the
 * database belongs to another install or provider than the file says, schema-older and schema-newer.
 */
export async function withKeystore<T>(
  config: Config,
  use: (keystore: Keystore) => Promise<T>,
): Promise<T> {
  return withStore(config.mongodb, async (store) => {
    const { provider } = config.kek
    const install = await requireInstall(store, { name: config.install, provider })
    const recorded = await readSettings(store)
    const settings = recorded === null ? settingsOf(config) : requireWhole(recorded.settings)
    const copied = install !== null && (await isCopied(store, install))
    if (copied) noteCopied(config)
    return use({ store, install, settings, isSetUp: install !== null && recorded !== null, copied })
  })
}

/** `withKeystore` for commands that change something. Throws keystore-copied for a copy: only `setup` may declare it. */
export async function withOwnKeystore<T>(
  config: Config,
  use: (keystore: Keystore) => Promise<T>,
): Promise<T> {
  return withKeystore(config, async (keystore) => {
    requireOriginal(keystore, config)
    return use(keystore)
  })
}

export function requireOriginal({ copied }: Keystore, config: Config): void {
  if (!copied) return
  throw new KeyturnError(
    'keystore-copied',
    `"${config.mongodb.database}" is not where this keystore was recorded: a copy, or moved or restored`,
    { hint: 'declare which: keyturn setup --copy, --moved or --restored' },
  )
}

/** Also records the current hosts if they changed while at least one stayed. */
async function isCopied(store: Store, { home }: InstallDoc): Promise<boolean> {
  const { copied, update } = compareHome(home, await readHome(store))
  if (update !== null) await recordHome(store, home, update)
  return copied
}

/** The identity, for commands that make no sense before `setup`. Throws setup-missing. */
export function requireSetUp(keystore: Keystore, config: Config): InstallIdentity {
  if (keystore.isSetUp && keystore.install !== null) return identityOf(keystore.install)
  throw new KeyturnError('setup-missing', `setup was not run for "${config.mongodb.database}"`, {
    hint: 'run: keyturn setup; is mongodb.database right?',
  })
}

/** The identity, for commands that make no sense before an installation. Throws not-installed, setup-missing. */
export function requireInstalled(keystore: Keystore, config: Config): InstallIdentity {
  const identity = requireSetUp(keystore, config)
  if ((keystore.install?.provider ?? null) !== null) return identity
  throw new KeyturnError('not-installed', `no key is installed in "${config.mongodb.database}"`, {
    hint: `run: keyturn ${config.kek.provider}-init --version 1`,
  })
}
