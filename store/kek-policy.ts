import type { Filter, UpdateFilter } from 'mongodb'
import type { PolicyRules } from '../contracts/policy.ts'
import { useApproval } from './approval-use.ts'
import { recordAudit, type AuditEntry } from './audit-outbox.ts'
import { policySubject } from './policy-approval.ts'
import type { PolicyDoc } from './policy-document.ts'
import { keystore } from './keystore.ts'
import { serverNow, type Store } from './store.ts'
import { inTransaction } from './transaction.ts'

/** The policy of a keystore, as commands read and change it. Its runs are in policy-runs.ts. */

export async function readPolicy(store: Store): Promise<PolicyDoc | null> {
  return await keystore.policy(store).findOne({ _id: 'policy' })
}

export function rulesOf(row: PolicyDoc): PolicyRules {
  const { window } = row
  return {
    everyMs: row.every_ms,
    atMs: row.at_ms,
    timeZone: row.time_zone,
    jitterMs: row.jitter_ms,
    window: window === null ? null : { fromMs: window.from_ms, toMs: window.to_ms },
    maxWraps: row.max_wraps,
    maxRate: row.max_rate,
    maxHsmCalls: row.max_hsm_calls,
    priority: row.priority,
    removeAfterMs: row.remove_after_ms,
    provision: row.provision,
  }
}

export interface NewPolicy {
  rules: PolicyRules
  task: string
  nextAt: Date
  by: string
}

/**
 * Sets or replaces the policy, and uses the approvals that it needs. Its record stays: a pause, the runs, planned removals.
 * Throws `approval-missing`.
 */
export async function putPolicy(store: Store, policy: NewPolicy): Promise<void> {
  const { rules, task, nextAt, by } = policy
  const { window } = rules
  const members: Omit<PolicyDoc, '_id' | 'paused' | 'run' | 'runs' | 'removals'> = {
    task,
    every_ms: rules.everyMs,
    at_ms: rules.atMs,
    time_zone: rules.timeZone,
    jitter_ms: rules.jitterMs,
    window: window === null ? null : { from_ms: window.fromMs, to_ms: window.toMs },
    max_wraps: rules.maxWraps,
    max_rate: rules.maxRate,
    max_hsm_calls: rules.maxHsmCalls,
    priority: rules.priority,
    remove_after_ms: rules.removeAfterMs,
    provision: rules.provision,
    set_at: await serverNow(store),
    set_by: by,
    next_at: nextAt,
    early_at: null,
    asked: null,
  }
  const fresh = { paused: null, run: null, runs: [], removals: [] }
  await inTransaction(store, async (session) => {
    await useApproval(store, policySubject(rules), { usedFor: task, by }, session)
    const options = { upsert: true, session }
    await keystore
      .policy(store)
      .updateOne({ _id: 'policy' }, { $set: members, $setOnInsert: fresh }, options)
    await recordAudit(store, entryOf(by, 'policy-set', { ...rules }), session)
  })
}

/** False if there is none. */
export async function deletePolicyRow(store: Store, by: string): Promise<boolean> {
  return await inTransaction(store, async (session) => {
    const { deletedCount } = await keystore.policy(store).deleteOne({ _id: 'policy' }, { session })
    if (deletedCount === 0) return false
    await recordAudit(store, entryOf(by, 'policy-deleted', {}), session)
    return true
  })
}

/** False if there is no policy, or it is paused already: then the first reason stays. */
export async function pausePolicy(
  store: Store,
  { by, reason }: { by: string; reason: string },
): Promise<boolean> {
  const paused = { at: await serverNow(store), by, reason }
  const change = { $set: { paused, asked: null } }
  return await changed(store, { paused: null }, change, entryOf(by, 'policy-paused', { reason }))
}

/** False if it is not paused. */
export async function resumePolicy(store: Store, by: string): Promise<boolean> {
  const change = { $set: { paused: null } }
  return await changed(store, { paused: { $ne: null } }, change, entryOf(by, 'policy-resumed', {}))
}

/** Asks for a run, which the next look begins. `now`: also outside the window. False if it is paused or runs. */
export async function askForRun(
  store: Store,
  { by, now }: { by: string; now: boolean },
): Promise<boolean> {
  const asked = { at: await serverNow(store), by, now }
  const { matchedCount } = await keystore
    .policy(store)
    .updateOne({ _id: 'policy', paused: null, run: null }, { $set: { asked } })
  return matchedCount === 1
}

/** Changes the policy, if the filter matches, and records it. */
async function changed(
  store: Store,
  filter: Filter<PolicyDoc>,
  change: UpdateFilter<PolicyDoc>,
  entry: AuditEntry,
): Promise<boolean> {
  return await inTransaction(store, async (session) => {
    const { matchedCount } = await keystore
      .policy(store)
      .updateOne({ ...filter, _id: 'policy' }, change, { session })
    if (matchedCount === 1) await recordAudit(store, entry, session)
    return matchedCount === 1
  })
}

function entryOf(actor: string, action: string, details: object): AuditEntry {
  return { actor, action, subject: 'policy', details }
}
