import type { ApprovalRequestView } from '../contracts/approvals.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { HsmKeyState } from '../contracts/kek.ts'
import type { RemovalOptions } from '../contracts/removal.ts'
import type { RemovalView } from '../contracts/views.ts'
import type { VersionDoc } from '../store/documents.ts'
import { readInstall } from '../store/kek-install.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import type { Store } from '../store/store.ts'
import { fleetNodes } from './views/nodes.ts'
import { requireVersion } from './views/versions.ts'

export interface RemoveRequest extends RemovalOptions {
  version: number
}

export interface RemovalReply {
  view: RemovalView
  error: KeyturnError | null
  /** The request that collects the approvals; absent unless they are missing. */
  request?: ApprovalRequestView
  /** What the operator still has to do; null where nothing is left. */
  leftover: string | null
}

/** Keyturn cannot delete a variable, and destroys a key in the HSM only on request. */
export async function leftoverOf(
  store: Store,
  version: number,
  hsmKey: HsmKeyState,
): Promise<string | null> {
  const { row } = await requireVersion(store, version)
  if (hsmKey === 'destroyed') return null
  if (hsmKey === 'absent') {
    return `no key "${row.label}" was found in the HSM: if it was in another token, destroy it there`
  }
  if (hsmKey === 'kept') {
    const install = await readInstall(store)
    const foreign = install === null ? null : ownKeyRefusal(row, install)
    const ours = `once it is not needed: keyturn remove --version ${version} --destroy-hsm-key`
    return `the key "${row.label}" is still in the HSM; ${foreign === null ? ours : othersKey(row)}`
  }
  const nodes = (await fleetNodes(store)).filter(({ decommissioned }) => !decommissioned)
  return `delete the variable "${row.label}" on ${nodes.map(({ node }) => node).join(', ')}`
}

function othersKey({ origin }: VersionDoc): string {
  return origin === 'generated'
    ? 'the keystore that this is a copy of destroys it'
    : 'once it is not needed, its administrator destroys it'
}

/** The error of a removal whose key is still in the HSM although its destruction was requested. */
export function stillThere(version: number, cause: KeyturnError | null): KeyturnError {
  const why = cause === null ? 'its last step did not come to its end' : cause.message
  return new KeyturnError(
    'removal-failed',
    `version ${version} is destroyed, its key in the HSM is not: ${why}`,
    {
      hint: `${cause?.hint === undefined ? '' : `${cause.hint}; `}then again: keyturn remove --version ${version} --destroy-hsm-key`,
      cause: cause ?? undefined,
    },
  )
}
