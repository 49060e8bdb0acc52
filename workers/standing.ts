import { KeyturnError } from '../contracts/errors.ts'
import type { InstallIdentity } from '../contracts/names.ts'
import { identityOf, requireInstall, type InstallName } from '../store/kek-install.ts'
import type { Store } from '../store/store.ts'

/** Whose work a process may take. */
export interface Standing {
  /** Null: it takes none. */
  readonly install: InstallIdentity | null
  /** Why not, with its code; null when nothing is wrong. */
  readonly problem: string | null
}

/**
 * Looks whose keystore this is. Before `setup` there is none, and a worker waits for it; any refusal is thrown at the
 * start, and later a reason to take no work.
 */
export function keystoreLook(store: Store, expected: InstallName): () => Promise<Standing> {
  let isFirst = true
  return async () => {
    try {
      const row = await requireInstall(store, expected)
      isFirst = false
      if (row !== null) return { install: identityOf(row), problem: null }
      return refused(new KeyturnError('setup-missing', `"${store.db.databaseName}" is no keystore`))
    } catch (error) {
      if (isFirst || !(error instanceof KeyturnError) || error.exitCode !== 3) throw error
      return refused(error)
    }
  }
}

function refused({ code, message }: KeyturnError): Standing {
  return { install: null, problem: `${code}: ${message}` }
}
