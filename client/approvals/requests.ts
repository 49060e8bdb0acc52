import type { ApprovalRequestView } from '../../contracts/approvals.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { closeRequest, listRequests, readRequest } from '../../store/approval-requests.ts'
import type { ApprovalRequestDoc } from '../../store/approval-document.ts'
import type { Store } from '../../store/store.ts'
import { withKeystore, withOwnKeystore, type Keystore } from '../keystore.ts'
import { requester } from '../temporal/names.ts'
import { requestView } from './view.ts'

/** Newest first: the open requests, or all. */
export async function readRequests(
  config: Config,
  { all }: { all: boolean },
): Promise<{ requests: ApprovalRequestView[] }> {
  return withKeystore(config, async ({ store }) => {
    const rows = await listRequests(store, { onlyOpen: !all })
    return { requests: await Promise.all(rows.map((row) => requestView(store, row))) }
  })
}

/** The open ones, for the status. None where they, or the settings that they depend on, are malformed: the rest is shown. */
export async function openRequests({ store }: Keystore): Promise<ApprovalRequestView[]> {
  try {
    const rows = await listRequests(store, { onlyOpen: true })
    return await Promise.all(rows.map((row) => requestView(store, row)))
  } catch (error) {
    if (error instanceof KeyturnError && error.code === 'document-malformed') return []
    throw error
  }
}

/** One request. Throws request-unknown. */
export async function showRequest(config: Config, id: string): Promise<ApprovalRequestView> {
  return withKeystore(config, async ({ store }) =>
    requestView(store, await requireRequest(store, id)),
  )
}

/** Withdraws an open request. Throws request-unknown, and approval-invalid for one that is no longer open. */
export async function withdrawRequest(config: Config, id: string): Promise<ApprovalRequestView> {
  return withOwnKeystore(config, async ({ store }) => {
    await requireRequest(store, id)
    const isOurs = await closeRequest(store, id, 'withdrawn', requester())
    const row = await requireRequest(store, id)
    if (!isOurs && row.state !== 'withdrawn') throw notOpen(row)
    return requestView(store, row)
  })
}

export async function requireRequest(store: Store, id: string): Promise<ApprovalRequestDoc> {
  const row = await readRequest(store, id)
  if (row !== null) return row
  throw new KeyturnError('request-unknown', `there is no request "${id}" in this keystore`, {
    hint: 'keyturn requests lists the open ones',
  })
}

export function notOpen({ _id, state }: ApprovalRequestDoc): KeyturnError {
  return new KeyturnError('approval-invalid', `request "${_id}" is not open: it is ${state}`, {
    hint: 'the command that needs it opens another one',
  })
}
