import { BSON, type Collection, type Document, type FindOptions } from 'mongodb'
import type { z } from 'zod'
import { clipped } from '../contracts/clipped.ts'
import { KeyturnError } from '../contracts/errors.ts'
import { collections } from '../contracts/names.ts'
import type { ApprovalRequestDoc } from './approval-document.ts'
import type {
  ActiveDoc,
  BackupDoc,
  InstallDoc,
  QuestionDoc,
  RemovalRequestDoc,
  RotationDoc,
  SettingsDoc,
  RangeDoc,
  VersionDoc,
} from './documents.ts'
import type { PolicyDoc } from './policy-document.ts'
import * as schemas from './keystore-schemas.ts'

/**
 * Checks the keystore's own documents when they are read: a malformed one is refused with its collection and `_id` before
 * anything is decided by it.
 */

/** Each returns its argument, including null, or throws `document-malformed`. */
export const wellFormed = {
  active: check<ActiveDoc>(collections.active, schemas.activeSchema),
  settings: check<SettingsDoc>(collections.settings, schemas.settingsSchema),
  install: check<InstallDoc>(collections.install, schemas.installSchema),
  version: check<VersionDoc>(collections.versions, schemas.versionSchema),
  /** For loading the version's key. */
  loadable: check<VersionDoc>(collections.versions, schemas.loadableSchema),
  backup: check<BackupDoc>(collections.backups, schemas.backupSchema),
  removal: check<RemovalRequestDoc>(collections.removals, schemas.removalSchema),
  request: check<ApprovalRequestDoc>(collections.requests, schemas.requestSchema),
  question: check<QuestionDoc>(collections.questions, schemas.questionSchema),
  policy: check<PolicyDoc>(collections.policy, schemas.policySchema),
  rotation: check<RotationDoc>(collections.rotations, schemas.rotationSchema),
  range: check<RangeDoc>(collections.ranges, schemas.rangeSchema),
}

type Check<T> = <R extends T | null>(row: R) => R

function check<T extends { _id: unknown }>(collection: string, schema: z.ZodType): Check<T> {
  return (row) => {
    const member = row === null ? null : memberAmiss(schema, row)
    if (row === null || member === null) return row
    throw malformed(collection, row._id, member)
  }
}

/** The first member that does not match the schema, as a dotted path; null if all match. */
export function memberAmiss(schema: z.ZodType, row: object): string | null {
  const { error } = schema.safeParse(row)
  return error === undefined ? null : clipped(error.issues[0]?.path.join('.') || '_id', 100)
}

/** The error for a malformed document; `id` as it was read, or its text. */
export function malformed(collection: string, id: unknown, member: string): KeyturnError {
  return new KeyturnError(
    'document-malformed',
    `document "${nameOf(id)}" of ${collection} is malformed: "${member}"`,
    { hint: 'it was edited: restore it from a backup (docs/protocol.md has its members)' },
  )
}

/** Any value as a short text, to name a document. */
export function nameOf(id: unknown): string {
  if (typeof id === 'string' && id !== '') return clipped(id, 150)
  return clipped(BSON.EJSON.stringify({ _id: id }).slice(7, -1), 150)
}

/**
 * A collection that checks whole documents when they are read. Callers that use a projection or raw bytes must check them
 * themselves.
 */
export function checked<T extends Document>(
  collection: Collection<T>,
  parse: Check<T>,
): Collection<T> {
  type One = (filter: object, ...rest: unknown[]) => Promise<T | null>
  const one = (method: One, optionsAt: number) => {
    return async (...args: unknown[]): Promise<T | null> => {
      const [filter = {}, ...rest] = args as [object?, ...unknown[]]
      const row = await method(filter, ...rest)
      return isWhole(args[optionsAt]) ? parse(row) : row
    }
  }
  const find = (filter = {}, options: FindOptions = {}) => {
    const cursor = collection.find(filter, options)
    return isWhole(options) ? cursor.map((row) => parse(row as T)) : cursor
  }
  const reads: Record<string | symbol, unknown> = {
    find,
    findOne: one(collection.findOne.bind(collection), 1),
    // Its overloads also return metadata, for an option that no statement here sets.
    findOneAndUpdate: one(collection.findOneAndUpdate.bind(collection) as unknown as One, 2),
  }
  return new Proxy(collection, {
    get: (target, name) => reads[name] ?? (Reflect.get(target, name, target) as unknown),
  })
}

function isWhole(options: unknown): boolean {
  const { projection, raw } = (options ?? {}) as FindOptions
  return projection === undefined && raw !== true
}
