import type { ClientSession } from 'mongodb'
import type { ApprovalSubject } from '../contracts/approvals.ts'
import type { RotateInput } from '../contracts/rotation.ts'
import { recheckApproval, useOrRecheckApproval } from './approval-use.ts'
import { rulesOf } from './kek-policy.ts'
import { keystore } from './keystore.ts'
import { policySubject } from './policy-approval.ts'
import type { PolicyDoc } from './policy-document.ts'
import type { Store } from './store.ts'

export type RotationOptions = Pick<
  RotateInput,
  'from' | 'to' | 'check' | 'priority' | 'maxHsmCalls'
>

/** What a rotation needs approvals for. Its rate and page size are not part of it: they may change while it runs. */
export function rotationSubject(options: RotationOptions): ApprovalSubject {
  const { from, to, check, priority = 'rotation', maxHsmCalls } = options
  return {
    action: 'rotate',
    subject: `v${to}`,
    options: { check, from, maxHsmCalls, priority, to },
  }
}

type PlannedRotation = RotationOptions & Pick<RotateInput, 'rotation'>

/**
 * Uses the approvals that a rotation needs, in the transaction that inserts its row. For one that a run of the policy has
 * planned those of the policy are verified again. Throws `approval-missing`.
 */
export async function approveRotation(
  store: Store,
  input: PlannedRotation,
  by: string,
  session: ClientSession,
): Promise<void> {
  const policy = await keystore.policy(store).findOne({ _id: 'policy' }, { session })
  if (policy !== null && (await isOfPolicy(store, policy, input, session))) {
    await recheckApproval(store, policySubject(rulesOf(policy)), policy.task, session)
    return
  }
  const use = { usedFor: input.rotation, by }
  await useOrRecheckApproval(store, rotationSubject(input), use, session)
}

/**
 * Whether the policy's run has planned exactly this. A plan is not signed, so it must also be what a policy does: it leaves
 * an older version, or makes one active that never was.
 */
async function isOfPolicy(
  store: Store,
  { run, priority, max_hsm_calls: maxHsmCalls }: PolicyDoc,
  input: PlannedRotation,
  session: ClientSession,
): Promise<boolean> {
  const { from, to } = input
  const planned = run?.rotations.find(({ id }) => id === input.rotation)
  if (planned?.from !== from || planned.to !== to || planned.check !== input.check) return false
  if (maxHsmCalls !== input.maxHsmCalls || priority !== (input.priority ?? 'rotation')) return false
  const active = await keystore.active(store).findOne({ _id: 'active' }, { session })
  if (to === active?.version) return true
  const row = await keystore.versions(store).findOne({ _id: to }, { session })
  return from === active?.version && row !== null && row.activated_at === null
}
