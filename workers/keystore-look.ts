import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import { compareHome } from '../protocol/keystore-home.ts'
import { identityOf, recordHome, requireInstall, type InstallName } from '../store/kek-install.ts'
import { readHome } from '../store/keystore-home.ts'
import type { Store } from '../store/store.ts'

/** Whether a process may take work, and of which keystore. */
export interface KeystoreState {
  /** The keystore whose work it takes; null: none. */
  readonly install: InstallIdentity | null
  /** Why it takes none, with the code in front; null when nothing is wrong. */
  readonly problem: string | null
}

/**
 * Reads the keystore's identity, and whether it is the original. Before `setup` there is none, and a worker waits for it. A
 * refusal is thrown on the first look; later it is a reason to take no work.
 */
export function keystoreLook(store: Store, expected: InstallName): () => Promise<KeystoreState> {
  let isFirst = true
  return async () => {
    try {
      const row = await requireInstall(store, expected)
      isFirst = false
      if (row === null) {
        return refused('setup-missing', `"${store.db.databaseName}" is no keystore yet`)
      }
      const { copied, update } = compareHome(row.home, await readHome(store))
      if (update !== null) await recordHome(store, row.home, update)
      return copied
        ? refused(
            'keystore-copied',
            `"${store.db.databaseName}" is a copy, or was moved or restored`,
          )
        : { install: identityOf(row), problem: null }
    } catch (error) {
      if (isFirst || !(error instanceof KeyturnError) || error.exitCode !== 3) throw error
      return refused(error.code, error.message)
    }
  }
}

function refused(code: ErrorCode, message: string): KeystoreState {
  return { install: null, problem: `${code}: ${message}` }
}
