import { Binary } from 'mongodb'
import { z } from 'zod'
import { rotationPhases } from '../contracts/rotation.ts'

/**
 * Schemas that a document of the keystore must match before a decision uses it. A missing member is malformed if null has a
 * meaning ("never active", "not ended"). Strings and lists are bounded, because they become part of Temporal payloads.
 */

const longestText = 10_000
const mostEntries = 10_000
/** Longest timer of Node.js, in milliseconds; a longer one fires immediately. */
const longestTimer = 2 ** 31 - 1

const text = z.string().max(longestText)
const name = z.string().min(1).max(300)
const count = z.int().min(0)
const date = z.date()
const bytes = (least: number, most: number) =>
  z.custom<Binary>(
    (value) => value instanceof Binary && value.position >= least && value.position <= most,
  )
const timer = z.int().min(1).max(longestTimer)
const counters = z.looseObject({
  rewrapped: count,
  superseded: count,
  quarantined: count,
  hsm_calls: count,
})

export const activeSchema = z.looseObject({
  version: count,
  epoch: count,
  at: date,
  rotation: name.nullable(),
})

const fleet = z
  .looseObject({
    heartbeatMs: timer,
    leaseMs: timer,
    expireMs: count,
    proveMs: timer.optional(),
  })
  .refine(({ heartbeatMs, leaseMs, expireMs }) => heartbeatMs < leaseMs && leaseMs < expireMs)

const layout = z.looseObject({
  version: text,
  wrapped: text,
  iv: text,
  encoding: z.enum(['binary', 'base64', 'hex']),
  aad: z.union([
    z.enum(['none', 'keyturn']),
    z.looseObject({ sha256: z.array(text).max(100), separator: text.optional() }),
  ]),
})

/** Base64 of 32 bytes. */
const rawKey = z.string().regex(/^[A-Za-z0-9+/]{43}=$/)

const approvals = z.looseObject({
  approvers: z.array(z.looseObject({ name, key: rawKey })).max(mostEntries),
  remove: count,
  rotate: count,
  settings: count,
  store: count,
  expiresMs: count.min(1),
})

export const settingsSchema = z.looseObject({
  settings: z.looseObject({
    collections: z
      .array(
        z.looseObject({
          name: text.min(1),
          envelopes: z.array(text.min(1)).max(mostEntries),
          uuid: text.optional(),
          layouts: z
            .array(z.looseObject({ field: text, layout }))
            .max(mostEntries)
            .optional(),
        }),
      )
      .max(mostEntries),
    fleet: fleet.optional(),
    removal: z.looseObject({ backupWindowMs: count, undoWindowMs: count.optional() }).optional(),
    approvals: approvals.optional(),
  }),
  sha256: bytes(32, 32),
})

const ownInstall = z.looseObject({
  name: text,
  id: text,
  home: z.looseObject({
    collection: text.nullable(),
    hosts: z.array(text).max(1_000).nullable(),
  }),
  provider: text.nullable(),
  stores: z
    .array(z.looseObject({ name: text, provider: text }))
    .max(100)
    .optional(),
  restoration: text.nullable(),
  audit_keys: z.array(text).max(100).optional(),
})

/** For this schema only; another `schema` is refused separately and has another shape. */
export const installSchema = z.looseObject({}).superRefine((row, context) => {
  if (row['schema'] !== 2) return
  for (const issue of ownInstall.safeParse(row).error?.issues ?? []) {
    context.addIssue({ code: 'custom', path: issue.path, message: issue.message })
  }
})

export const versionSchema = z.looseObject({
  _id: count,
  provider: text,
  store: text,
  label: text,
  key_id: bytes(0, 1_000).nullable(),
  of_original: z.boolean().optional(),
  gcm: z.looseObject({ iv_mode: text, iv_length: count, tag_bits: count }).nullable(),
  canary: z
    .looseObject({
      dek_iv: bytes(0, 1_000),
      dek_wrapped: bytes(0, 10_000),
      digest: bytes(0, 1_000),
    })
    .nullable(),
  wraps: count,
  rotation: name.nullable(),
  created_at: date,
  activated_at: date.nullable(),
  deactivated_at: date.nullable(),
  left_at: date.nullable(),
  left_epoch: count.nullable(),
  periods: z
    .array(z.looseObject({ activated_at: date, left_at: date.nullable() }))
    .max(mostEntries)
    .optional(),
  removal: z
    .looseObject({
      request: name,
      requested_by: text,
      requested_at: date,
      due_at: date,
      guard_run: count,
      without_fence: z.boolean(),
      fenced_at: date.nullable(),
      fence_try: z.looseObject({ at: date, tries: count, message: text }).nullable(),
      hsm_key: z.enum(['destroyed', 'absent']).nullable(),
    })
    .nullable(),
  destroyed_at: date.nullable(),
})

/** The members that a process needs to load and unload versions; without the removal's due time, the wrap count and the periods. */
export const loadableSchema = versionSchema.extend({
  removal: z.looseObject({ request: name }).nullable(),
  wraps: z.unknown(),
  periods: z.unknown().optional(),
})

export const backupSchema = z.looseObject({
  _id: name,
  taken_at: date,
  keep_until: date.nullable(),
  marked_at: date,
  marked_by: text,
})

export const removalSchema = z.looseObject({
  _id: name,
  version: count,
  requested_by: text,
  requested_at: date,
  not_before: date.nullable(),
  destroy_hsm_key: z.boolean(),
  accept_quarantine: z.boolean(),
  without_fence: z.boolean(),
  state: z.enum(['asked', 'requested', 'destroyed', 'refused', 'withdrawn']),
  standing: z.boolean(),
  key_destroying_at: date.optional(),
})

export const useSchema = z.looseObject({
  _id: z.strictObject({
    version: count,
    node: name,
    process: name,
    collection: text.min(1),
    field: text.min(1),
  }),
  pid: count,
  role: z.enum(['worker', 'app']),
  count,
  first_at: date,
  last_at: date,
})

/** Approvals that a request may have: more than approvers can be, so that a long list cannot slow down a decision. */
const mostApprovals = 1_000

export const requestSchema = z.looseObject({
  _id: name,
  action: z.enum(['remove', 'rotate', 'settings', 'store']),
  subject: name,
  options: z.record(z.string(), z.json()),
  requested_by: text,
  requested_at: date,
  expires_at: date,
  approvals: z
    .array(z.looseObject({ name, signature: z.string().max(200), at: date }))
    .max(mostApprovals),
  state: z.enum(['open', 'used', 'withdrawn', 'expired']),
  used_for: name.nullable(),
  used_at: date.nullable(),
})

const check = z.enum(['all', 'sampled', 'none'])

const policyRun = z.looseObject({
  id: name,
  cause: z.enum(['date', 'wraps', 'command']),
  reason: text,
  at: date,
  outside: z.boolean(),
  until: date,
  waits_for: text.nullable(),
  rotations: z
    .array(z.looseObject({ id: name, from: count, to: count, main: z.boolean(), check }))
    .max(1_000),
  ended_at: date.nullable(),
  outcome: z
    .enum(['completed', 'completed-with-quarantine', 'cancelled', 'refused', 'failed', 'skipped'])
    .nullable(),
  error: z.looseObject({ code: name, message: text, hint: text.optional() }).nullable(),
})

const ofDay = count.max(86_400_000)

export const policySchema = z.looseObject({
  task: name,
  every_ms: count.min(1),
  at_ms: ofDay.nullable(),
  time_zone: name,
  jitter_ms: count,
  window: z.looseObject({ from_ms: ofDay, to_ms: ofDay }).nullable(),
  max_wraps: count.nullable(),
  max_rate: count.nullable(),
  max_hsm_calls: count,
  priority: z.enum(['applications', 'rotation']),
  remove_after_ms: count.nullable(),
  provision: z.boolean(),
  set_at: date,
  set_by: text,
  next_at: date,
  early_at: date.nullable(),
  asked: z.looseObject({ at: date, by: text, now: z.boolean() }).nullable(),
  paused: z.looseObject({ at: date, by: text, reason: text }).nullable(),
  run: policyRun.nullable(),
  runs: z.array(policyRun).max(1_000),
  removals: z
    .array(
      z.looseObject({
        version: count,
        request: name,
        rotation: name,
        at: date,
        reason: text.nullable(),
        tried_at: date.nullable(),
      }),
    )
    .max(1_000),
})

const asked = { nonce: name, target: count.nullable(), asked_at: date }

export const questionSchema = z.looseObject({
  ...asked,
  earlier: z.array(z.looseObject(asked)).max(mostEntries).optional(),
})

const phase = z.enum(rotationPhases)

export const rotationSchema = z.looseObject({
  _id: name,
  from: count,
  to: count,
  phase,
  requested_by: text,
  reason: text,
  outcome: z
    .enum(['completed', 'completed-with-quarantine', 'cancelled', 'refused', 'failed'])
    .nullable(),
  started_at: date,
  promoted_at: date.nullable(),
  settled_at: date.nullable(),
  ended_at: date.nullable(),
  phases: z.partialRecord(phase, date).optional(),
  question: z.looseObject({ nonce: name, asked_at: date }).nullish(),
  met: z.array(name).max(mostEntries).optional(),
  seen: z.looseObject({ epoch: count, promote: z.boolean() }).nullable(),
  way: z.looseObject({
    page: count.min(1),
    shards: z.union([count, z.literal('auto')]),
    check: z.enum(['all', 'sampled', 'none']),
    priority: z.enum(['applications', 'rotation']),
  }),
  window: z.looseObject({ from_ms: ofDay, to_ms: ofDay, time_zone: name }).nullish(),
  epoch: count.nullable(),
  fleet_left: z
    .looseObject({ epoch: count, at: date, silent: z.array(name).max(mostEntries) })
    .nullable(),
  total: count.nullable(),
  counters: counters.nullable(),
  hsm_reserved: count,
  max_hsm_calls: count,
  touches: count,
  silent: z.array(name).max(mostEntries),
  awaiting: z.array(text).max(1_000).optional(),
  workflow_id: text,
  run_id: text.nullable(),
  shards_closed: z.boolean(),
  error: z.looseObject({ code: name, message: text, hint: text.optional() }).nullable(),
})

/** Without its bounds, which are read from its bytes. */
export const rangeSchema = z.looseObject({
  _id: z.looseObject({ rotation: name, shard: text.min(1) }),
  collection: text,
  field: text,
  attempt: count,
  closed: z.boolean(),
  counters,
  session: z.looseObject({ id: bytes(16, 16) }).nullable(),
})

/** Without its `_id`, which is read from its bytes. */
export const quarantineSchema = z.looseObject({
  kek_version: count.nullable(),
  digest: bytes(32, 32),
  code: name,
  message: text,
  rotation: name.nullable(),
  first_seen: date,
  attempts: count,
  count: count.optional(),
})

export const auditOutboxSchema = z.looseObject({
  at: date,
  actor: text,
  action: name,
  subject: text,
  details: z.record(z.string(), z.unknown()),
})

export const auditSchema = z.looseObject({
  _id: count.min(1),
  at: date,
  actor: text,
  action: name,
  subject: text,
  prev: text,
  hash: text,
  details: z.record(z.string(), z.unknown()),
})
