import type { ClientSession } from 'mongodb'
import canonicalize from 'canonicalize'
import type { ApprovalSubject } from '../contracts/approvals.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import { noApprovals, type ApprovalRules } from '../contracts/settings.ts'
import { approvedBy } from './approval-signatures.ts'
import { approvalText } from './approval-text.ts'
import { entryOf, inOrder, openFor } from './approval-requests.ts'
import { recordAudit } from './audit-outbox.ts'
import type { ApprovalRequestDoc } from './approval-document.ts'
import { keystore } from './keystore.ts'
import { malformed } from './own-documents.ts'
import { settingsHash } from './settings-hash.ts'
import type { Store } from './store.ts'

/**
 * Whether an action may be done, from MongoDB alone: the recorded numbers and approvers, the request's row, and its
 * signatures, verified each time. Nothing here is taken from an input.
 */
export interface Approval {
  required: number
  /** Names of the approvers whose signatures count. */
  by: string[]
  /** The request that fits; null if there is none, or none is needed. */
  request: ApprovalRequestDoc | null
}

/** Who does the action, for the audit, and what it is done by: the id of a removal or rotation, or a hash of settings. */
export interface Use {
  usedFor: string
  by: string
}

/** Reads only. With `usedFor`, a request that was used for it counts too, and its expiry does not. */
export async function readApproval(
  store: Store,
  wanted: ApprovalSubject,
  { usedFor, session }: { usedFor?: string | undefined; session?: ClientSession } = {},
): Promise<Approval> {
  const rules = await readRules(store, session)
  const required = rules[wanted.action]
  if (required === 0) return { required, by: [], request: null }
  const used = usedFor === undefined ? null : await usedRequest(store, wanted, usedFor, session)
  const request = used ?? (await openRequestFor(store, wanted, session))
  const by = request === null ? [] : await approversOf(store, request, rules, session)
  return { required, by, request }
}

/**
 * The recorded rules; none before `setup`. Throws `document-malformed` if the settings were edited: their hash, which each
 * process compares with its file, no longer fits.
 */
export async function readRules(store: Store, session?: ClientSession): Promise<ApprovalRules> {
  const row = await keystore.settings(store).findOne({ _id: 'settings' }, within(session))
  if (row === null) return noApprovals
  if (!settingsHash(row.settings).equals(row.sha256.value())) {
    throw malformed(collections.settings, 'settings', 'sha256')
  }
  return row.settings.approvals ?? noApprovals
}

/** The approvers of a request whose signatures count now. */
export async function approversOf(
  store: Store,
  request: ApprovalRequestDoc,
  { approvers }: ApprovalRules,
  session?: ClientSession,
): Promise<string[]> {
  const install = await keystore.install(store).findOne({ _id: 'install' }, within(session))
  if (install === null) return []
  return approvedBy(approvalText(install.id, request), request, approvers)
}

/** Uses the open request for `wanted`, in the transaction that records the act. Throws `approval-missing`, which aborts it. */
export async function useApproval(
  store: Store,
  wanted: ApprovalSubject,
  { usedFor, by }: Use,
  session: ClientSession,
): Promise<void> {
  const approval = await readApproval(store, wanted, { session })
  requireEnough(wanted, approval)
  const { request } = approval
  if (request === null) return
  const { matchedCount } = await keystore.requests(store).updateOne(
    { _id: request._id, state: 'open', $expr: { $gt: ['$expires_at', '$$NOW'] } },
    // An aggregation would read a "$" in `usedFor` as a path.
    [{ $set: { state: 'used', used_for: { $literal: usedFor }, used_at: '$$NOW' } }],
    { session },
  )
  if (matchedCount === 0) throw missing(wanted, { ...approval, by: [] })
  const details = { approvedBy: approval.by, for: usedFor }
  await recordAudit(store, entryOf(request, 'request-used', by, details), session)
}

/**
 * As useApproval, for a step that may be repeated: a request that was used for `usedFor` before is only verified again. So
 * `usedFor` must be an id that stands for one act.
 */
export async function useOrRecheckApproval(
  store: Store,
  wanted: ApprovalSubject,
  use: Use,
  session: ClientSession,
): Promise<void> {
  const { usedFor } = use
  const approval = await readApproval(store, wanted, { usedFor, session })
  if (approval.request?.state === 'used') requireEnough(wanted, approval)
  else await useApproval(store, wanted, use, session)
}

/** Verifies the request that was used for `usedFor` again, against the approvers of now. Throws `approval-missing`. */
export async function recheckApproval(
  store: Store,
  wanted: ApprovalSubject,
  usedFor: string,
  session: ClientSession,
): Promise<void> {
  const approval = await readApproval(store, wanted, { usedFor, session })
  const isUsed = approval.request?.state === 'used'
  requireEnough(wanted, isUsed ? approval : { ...approval, by: [] })
}

function requireEnough(wanted: ApprovalSubject, approval: Approval): void {
  if (approval.by.length < approval.required) throw missing(wanted, approval)
}

function missing({ action, subject }: ApprovalSubject, { by, required }: Approval): KeyturnError {
  return new KeyturnError(
    'approval-missing',
    `${action} of ${subject} has ${by.length} of ${required} approvals`,
    { hint: 'keyturn requests lists what is open; an approval counts for exactly its options' },
  )
}

async function openRequestFor(
  store: Store,
  wanted: ApprovalSubject,
  session: ClientSession | undefined,
): Promise<ApprovalRequestDoc | null> {
  const unexpired = { ...openFor(wanted), $expr: { $gt: ['$expires_at', '$$NOW'] } }
  return keystore.requests(store).findOne(unexpired, within(session))
}

async function usedRequest(
  store: Store,
  { action, subject, options }: ApprovalSubject,
  usedFor: string,
  session: ClientSession | undefined,
): Promise<ApprovalRequestDoc | null> {
  const rows = await keystore
    .requests(store)
    .find({ action, subject, state: 'used', used_for: { $eq: usedFor } }, within(session))
    .toArray()
  return rows.find((row) => stillFits(row.options, options)) ?? null
}

/** Equal, but for quarantine that was accepted and is gone: nothing is lost that was not approved. */
function stillFits(
  approved: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
): boolean {
  const accepted = now['acceptQuarantine'] as { rows?: unknown } | null | undefined
  const isGone = accepted?.rows === 0 && approved['acceptQuarantine'] !== null
  const compared = isGone ? { ...now, acceptQuarantine: approved['acceptQuarantine'] } : now
  return canonicalize(inOrder(approved)) === canonicalize(inOrder(compared))
}

function within(session: ClientSession | undefined): { session?: ClientSession } {
  return session === undefined ? {} : { session }
}
