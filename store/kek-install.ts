import { KeyturnError } from '../contracts/errors.ts'
import type { ProviderName } from '../contracts/kek.ts'
import type { InstallDoc } from './documents.ts'
import { keystore } from './keystore.ts'
import { isDuplicateKey } from './store-errors.ts'
import { serverNow, type Store } from './store.ts'

/** Who a process believes to serve. */
export interface InstallName {
  install: string
  provider: ProviderName
}

/** Null on a database where nothing was installed yet. */
export async function readInstall(store: Store): Promise<InstallDoc | null> {
  return keystore.install(store).findOne({ _id: 'install' })
}

/** Inserts the lock if it is absent, and returns the one that is there afterwards: the first wins. */
export async function insertInstall(
  store: Store,
  lock: InstallName & { created_by: string },
): Promise<InstallDoc> {
  try {
    await keystore.install(store).insertOne({
      _id: 'install',
      provider: lock.provider,
      install: lock.install,
      schema: 1,
      created_at: await serverNow(store),
      created_by: lock.created_by,
    })
  } catch (error) {
    if (!isDuplicateKey(error)) throw error
  }
  const there = await readInstall(store)
  if (there === null)
    throw new KeyturnError('internal', 'the install lock is gone right after it was written')
  return there
}

/** The lock, or null where there is none. Throws `install-locked` when it is another install's or provider's. */
export async function requireInstall(
  store: Store,
  expected: InstallName,
): Promise<InstallDoc | null> {
  const lock = await readInstall(store)
  if (lock === null) return null
  if (lock.install !== expected.install) {
    throw new KeyturnError(
      'install-locked',
      `the database is locked for install '${lock.install}', not '${expected.install}'`,
      { hint: `set install: ${lock.install}, or use another database` },
    )
  }
  if (lock.provider !== expected.provider) {
    throw new KeyturnError(
      'install-locked',
      `the database is locked for provider '${lock.provider}', not '${expected.provider}'`,
      {
        hint: `set kek.provider: ${lock.provider}, or use another database: a provider is never changed`,
      },
    )
  }
  return lock
}
