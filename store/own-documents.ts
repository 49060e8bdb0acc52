import { Binary } from 'mongodb'
import { z } from 'zod'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import type { ActiveDoc, InstallDoc, SettingsDoc, VersionDoc } from './documents.ts'

/**
 * The keystore's own documents where they are read: one that was edited into something else is refused by its collection
 * and `_id`, before anything is decided by it. Checked is what decisions are made from.
 */

const binary = z.custom<Binary>((value) => value instanceof Binary)
const date = z.date().nullish()
const text = z.string().nullish()
const count = z.int().min(0)

const active = z.looseObject({ version: count, epoch: count, rotation: text })

const settings = z.looseObject({
  settings: z.looseObject({
    collections: z.array(z.looseObject({ name: z.string(), envelopes: z.array(z.string()) })),
    fleet: z
      .looseObject({ heartbeatMs: z.number(), leaseMs: z.number(), expireMs: z.number() })
      .optional(),
    removal: z
      .looseObject({ backupWindowMs: z.number(), approvalsRequired: z.number() })
      .optional(),
  }),
  sha256: binary,
})

/** Not its `schema`: an unknown one has refusals of its own. */
const install = z.looseObject({
  name: z.string(),
  id: z.string(),
  provider: text,
  stores: z.array(z.looseObject({ name: z.string(), provider: z.string() })).optional(),
})

const version = z.looseObject({
  _id: count,
  provider: z.string(),
  label: z.string(),
  key_id: binary.nullish(),
  gcm: z.looseObject({ iv_mode: z.string(), iv_length: count, tag_bits: count }).nullable(),
  canary: z.looseObject({ dek_iv: binary, dek_wrapped: binary, digest: binary }).nullable(),
  rotation: text,
  activated_at: date,
  deactivated_at: date,
  left_at: date,
  left_epoch: count.nullish(),
  removal: z.looseObject({ request: z.string(), due_at: date, fenced_at: date }).nullish(),
  destroyed_at: date,
})

/** Each answers the document itself, null too, or throws `document-malformed`. */
export const wellFormed = {
  active: (row: ActiveDoc | null) => required(collections.active, active, row),
  settings: (row: SettingsDoc | null) => required(collections.settings, settings, row),
  install: (row: InstallDoc | null) => required(collections.install, install, row),
  version: <T extends VersionDoc | null>(row: T) => required(collections.versions, version, row),
}

function required<T extends { _id: unknown } | null>(
  collection: string,
  schema: z.ZodType,
  row: T,
): T {
  if (row === null) return row
  const { error } = schema.safeParse(row)
  if (error === undefined) return row
  const member = error.issues[0]?.path.join('.') ?? '_id'
  throw new KeyturnError(
    'document-malformed',
    `document '${String(row._id)}' of ${collection} is malformed: "${member}"`,
    { hint: 'somebody edited it: put it back from a backup (docs/protocol.md has its members)' },
  )
}
