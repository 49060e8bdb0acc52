import type { ErrorReport } from '../contracts/errors.ts'
import type { KekDescriptor } from '../contracts/kek.ts'
import type { Config } from '../contracts/settings.ts'
import { readRules } from '../store/approval-use.ts'
import { settingsSubject } from '../store/settings-approval.ts'
import type { InstallDoc } from '../store/documents.ts'
import { identityOf } from '../store/kek-install.ts'
import { writeSettings } from '../store/kek-settings.ts'
import { collectionUuids, readHome } from '../store/keystore-home.ts'
import {
  declareCopy,
  declareMoved,
  declareRestored,
  type Withdrawn,
} from '../store/keystore-relocation.ts'
import { requireSetUp, withKeystore, type Keystore } from './keystore.ts'
import { withUuids } from './recorded-uuids.ts'
import { withTemporal } from './temporal/connection.ts'
import { requester } from './temporal/names.ts'
import { endForeignWork } from './temporal/end-foreign-work.ts'
import { loadableKeks } from './views/opening.ts'

/** What an operator declares a keystore to be that is not where it was recorded. */
export type Relocation = 'moved' | 'copied' | 'restored'

export interface CanaryCheck {
  version: number
  /** Null: its canary opened here. */
  error: ErrorReport | null
}

/** The shape of `setup --moved|--copy|--restored --json`. `canaries` is for a restore, `withdrawn` for a restore and a copy. */
export interface RelocationReport {
  install: string
  database: string
  keystore: Relocation
  id: string
  canaries?: CanaryCheck[]
  withdrawn?: Withdrawn & { workflows: string[] }
}

export interface Declaring {
  /** Opens the canary of each version with this host's keys. */
  prove(keks: KekDescriptor[]): Promise<CanaryCheck[]>
  /** Called before anything is written, with the canaries that do not open here. Throws to change nothing. */
  confirm(unopened: CanaryCheck[]): Promise<void>
}

/**
 * Declares what this keystore is, so that workers and commands accept it again. Throws setup-missing, and errors of the
 * database and, for a restore, of Temporal.
 */
export async function relocate(
  config: Config,
  how: Relocation,
  declaring: Declaring,
): Promise<RelocationReport> {
  return withKeystore(config, async (keystore) => {
    requireSetUp(keystore, config)
    const row = keystore.install as InstallDoc
    const canaries = how === 'restored' ? await declaring.prove(await loadableKeks(keystore)) : []
    await declaring.confirm(canaries.filter(({ error }) => error !== null))
    const base = { install: config.install, database: config.mongodb.database, keystore: how }
    const done = await declare(config, keystore, row, how)
    await recordUuids(keystore)
    return {
      ...base,
      id: done.id,
      ...(how === 'restored' ? { canaries } : {}),
      ...(done.withdrawn === null ? {} : { withdrawn: done.withdrawn }),
    }
  })
}

async function declare(
  config: Config,
  { store, settings }: Keystore,
  row: InstallDoc,
  how: Relocation,
): Promise<{ id: string; withdrawn: NonNullable<RelocationReport['withdrawn']> | null }> {
  const home = await readHome(store)
  const { collections } = settings
  const by = requester()
  switch (how) {
    case 'moved':
      await declareMoved(store, row, { home, by })
      return { id: row.id, withdrawn: null }
    case 'copied':
      return withWorkflows(await declareCopy(store, row, { home, collections, by }), [])
    case 'restored':
      return withTemporal(config, async (link) => {
        const withdrawn = await declareRestored(store, row, { home, collections, by })
        // After the rows are written: work that began in between has a row.
        const workflows = await endForeignWork(link, store, identityOf(row))
        return withWorkflows({ id: row.id, withdrawn }, workflows)
      })
  }
}

function withWorkflows({ id, withdrawn }: { id: string; withdrawn: Withdrawn }, ended: string[]) {
  return { id, withdrawn: { ...withdrawn, workflows: ended } }
}

/**
 * A restore creates new collections. Declaring it also declares that these are the right ones, unless that needs approvals:
 * then `setup` does it.
 */
async function recordUuids({ store, settings: recorded }: Keystore): Promise<void> {
  const settings = withUuids(recorded, await collectionUuids(store), recorded)
  const subject = settingsSubject(recorded, settings, [])
  if (subject !== null && (await readRules(store)).settings > 0) return
  await writeSettings(store, { settings, by: requester() })
}
