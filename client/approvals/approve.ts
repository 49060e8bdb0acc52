import { sign } from 'node:crypto'
import type { ApprovalRequestView } from '../../contracts/approvals.ts'
import { readApprovalKey } from '../../config/approval-key.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Approver, Config } from '../../contracts/settings.ts'
import { addApproval, closeRequest } from '../../store/approval-requests.ts'
import { isRequester, isSignedBy } from '../../store/approval-signatures.ts'
import { readRules } from '../../store/approval-use.ts'
import { keyFingerprint } from '../../store/key-fingerprint.ts'
import type { Store } from '../../store/store.ts'
import { requireSetUp, withOwnKeystore } from '../keystore.ts'
import { requester } from '../temporal/names.ts'
import { notOpen, requireRequest } from './requests.ts'
import { requestView } from './view.ts'

/** A private key's file, or a signature that was made elsewhere and the name of its approver. */
export type ApprovalBy = { keyFile: string } | { signature: string; name: string }

/**
 * Adds one approval to an open request, after `ask` has shown it. Returns the request as it is then; the same approval again
 * changes nothing. Throws request-unknown, and approval-invalid for a signature that does not count.
 */
export async function approve(
  config: Config,
  id: string,
  by: ApprovalBy,
  ask: (request: ApprovalRequestView) => Promise<void>,
): Promise<ApprovalRequestView> {
  return withOwnKeystore(config, async (keystore) => {
    requireSetUp(keystore, config)
    const { store } = keystore
    const view = await openView(store, id)
    const { approvers } = await readRules(store)
    const { approver, signature } =
      'keyFile' in by ? signed(view.text, by.keyFile, approvers) : verified(view, by, approvers)
    refuseRequester(approver, view)
    if (view.approvedBy.includes(approver.name)) return view
    await ask(view)
    const approval = { name: approver.name, signature: signature() }
    const isAdded = await addApproval(store, id, approval, requester())
    const after = await requireRequest(store, id)
    if (!isAdded && after.state !== 'open') throw notOpen(after)
    const now = await requestView(store, after)
    if (!now.approvedBy.includes(approver.name)) throw await lateRefusal(store, id, approver)
    return now
  })
}

async function openView(store: Store, id: string): Promise<ApprovalRequestView> {
  const row = await requireRequest(store, id)
  const view = await requestView(store, row)
  if (view.state === 'open') return view
  if (row.state === 'open') await closeRequest(store, id, 'expired', requester())
  throw notOpen({ ...row, state: view.state })
}

/** It expired, or the approvers changed, while the question was open. */
async function lateRefusal(store: Store, id: string, { name }: Approver): Promise<KeyturnError> {
  const row = await requireRequest(store, id)
  const { state } = await requestView(store, row)
  if (state !== 'open') return notOpen({ ...row, state })
  return invalid(`the approval of "${name}" does not count: the approvers have changed`)
}

interface Signed {
  approver: Approver
  /** Called once the person has agreed. */
  signature: () => string
}

function signed(text: string, file: string, approvers: readonly Approver[]): Signed {
  const { key, raw } = readApprovalKey(file)
  const approver = approvers.find((each) => each.key === raw)
  if (approver === undefined) {
    throw invalid(
      `the key in "${file}" is no approver's: ${keyFingerprint(raw)}`,
      approvers.length === 0
        ? 'no approvers are recorded: approvals.approvers in keyturn.yaml, then keyturn setup'
        : `approvers are ${approvers.map(({ name }) => name).join(', ')}`,
    )
  }
  const signature = () => sign(null, Buffer.from(text, 'utf8'), key).toString('base64')
  return { approver, signature }
}

function verified(
  { id, text }: ApprovalRequestView,
  { signature, name }: { signature: string; name: string },
  approvers: readonly Approver[],
): Signed {
  const approver = approvers.find((each) => each.name === name)
  if (approver === undefined) {
    throw invalid(
      `"${name}" is no approver`,
      `approvers are ${approvers.map((each) => each.name).join(', ') || 'not recorded'}`,
    )
  }
  const compact = signature.replaceAll(/\s/g, '')
  if (isSshSignature(signature)) {
    throw invalid(
      'the signature is an SSHSIG, which signs other bytes than the text',
      `sign the text itself: openssl pkeyutl -sign -rawin -inkey KEY -in FILE (docs/approvals.md)`,
    )
  }
  if (!isSignedBy(text, compact, approver.key)) {
    throw invalid(
      `this is no signature of "${name}" over the text of request "${id}"`,
      `sign exactly these bytes: keyturn requests show ${id} --out FILE`,
    )
  }
  return { approver, signature: () => compact }
}

/** `ssh-keygen -Y sign`: its armour, or its magic in base64. */
function isSshSignature(signature: string): boolean {
  return signature.includes('SSH SIGNATURE') || signature.trim().startsWith('U1NIU0lH')
}

function refuseRequester(approver: Approver, { requestedBy }: ApprovalRequestView): void {
  if (!isRequester(approver.name, requestedBy)) return
  throw invalid(
    `"${approver.name}" requested it: the requester's own approval does not count`,
    'another approver has to approve it',
  )
}

function invalid(message: string, hint?: string): KeyturnError {
  return new KeyturnError('approval-invalid', message, hint === undefined ? {} : { hint })
}
