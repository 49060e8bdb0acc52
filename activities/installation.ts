import { KeyturnError } from '../contracts/errors.ts'
import type { InstallInput, InstallResult } from '../contracts/install.ts'
import { isLive } from '../protocol/facts.ts'
import type { VersionDoc } from '../store/documents.ts'
import { readActive } from '../store/kek-active.ts'
import { requireInstall } from '../store/kek-install.ts'
import { readVersion } from '../store/kek-versions.ts'
import type { Store } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet } from './fleet.ts'
import { checkedInput } from './install-input.ts'
import { requireRequestedKey } from './registration.ts'

export interface InstallState {
  /** The result of an earlier install of this version; null when there is work to do. */
  installed: InstallResult | null
  /** Nodes with a live worker. */
  nodes: string[]
}

/** The check of `installKek` before a key is touched. */
export function installationActivities(deps: ControlDeps) {
  return {
    checkInstall: async (input: InstallInput): Promise<InstallState> => await check(deps, input),
  }
}

export function versionDestroyed(version: number): KeyturnError {
  return new KeyturnError('version-destroyed', `version "${version}" was destroyed`, {
    hint: 'a destroyed version number is not used again: install the next one',
  })
}

async function check(deps: ControlDeps, given: InstallInput): Promise<InstallState> {
  const { store, config } = deps
  const input = checkedInput(deps, given)
  await requireInstall(store, { name: config.install, provider: input.provider })
  const row = await readVersion(store, input.version)
  if (row !== null && row.destroyed_at !== null) throw versionDestroyed(input.version)
  const { heartbeats } = await readFleet(deps)
  const workers = heartbeats.filter((one) => one.role === 'worker' && isLive(one))
  const nodes = [...new Set(workers.map((one) => one.node))].sort()
  const isInstalled = row !== null && row.canary !== null
  if (isInstalled) requireRequestedKey(row, input)
  return { installed: isInstalled ? await installResult(store, row, false) : null, nodes }
}

export async function installResult(
  store: Store,
  row: VersionDoc,
  created: boolean,
): Promise<InstallResult> {
  const active = await readActive(store)
  return {
    version: row._id,
    label: row.label,
    provider: row.provider,
    madeBy: row.made_by,
    created,
    active: active?.version === row._id,
    probe: null,
  }
}
