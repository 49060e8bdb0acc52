import { createHash } from 'node:crypto'
import { Binary, BSON, type Document } from 'mongodb'
import { z } from 'zod'
import { clipped } from '../contracts/clipped.ts'
import { readinessHints } from '../contracts/fleet.ts'
import type { HeartbeatDoc, NodeDoc } from './documents.ts'
import { nameOf } from './own-documents.ts'

/**
 * The two collections that applications in other languages may write too. Each document is parsed separately; a malformed
 * one stays in the result by name, as `malformed`, and nothing in it is trusted.
 */

const answers = z.string().max(200).nullable().exactOptional()
const version = z.int().min(0)
const reasons = Object.keys(readinessHints) as [keyof typeof readinessHints]

/** Each member is bounded, because the document becomes part of Temporal payloads. */
const heartbeat = z.object({
  _id: z.string().min(1).max(300),
  node: z.string().min(1).max(200),
  pid: z.int().min(0),
  role: z.enum(['worker', 'app']),
  started_at: z.date(),
  at: z.date(),
  expires_at: z.date(),
  lease_until: z.date(),
  current: version.nullish(),
  epoch: version.nullish(),
  loaded: z
    .array(z.object({ version, proven_at: z.date(), answers }))
    .max(1_000)
    .nullish(),
  not_loaded: z
    .array(z.object({ version, reason: z.enum(reasons), answers }))
    .max(1_000)
    .nullish(),
  reports_uses: z.boolean().nullish(),
  software: z.string().max(100).nullish(),
  settings: z.custom<Binary>((value) => value instanceof Binary && value.position <= 64).nullish(),
})

/** One document of `process_heartbeats`. */
export function parseHeartbeat(raw: Document): HeartbeatDoc {
  const { success, data, error } = heartbeat.safeParse(raw)
  if (success && data._id.startsWith(`${data.node}/`)) {
    const { current = null, epoch = null, loaded, not_loaded, settings = null } = data
    const { reports_uses = null, software = null } = data
    return {
      ...data,
      current,
      epoch,
      settings,
      reports_uses,
      software,
      loaded: loaded ?? [],
      not_loaded: not_loaded ?? [],
    }
  }
  return malformedHeartbeat(raw, success ? 'node' : whatOf(error))
}

const never = new Date(8.64e15)

/** What can be read of it, to name it. `loaded` is empty, because it proves nothing. */
function malformedHeartbeat(raw: Document, what: string): HeartbeatDoc {
  const { _id, node: named } = raw as Record<string, unknown>
  const id = heartbeat.shape._id.safeParse(_id).data ?? null
  const node =
    id !== null && id.lastIndexOf('/') > 0
      ? clipped(id.slice(0, id.lastIndexOf('/')), 200)
      : (heartbeat.shape.node.safeParse(named).data ?? nameOf(_id))
  return {
    _id: id ?? `${node}/${digestOf({ _id }).slice(0, 16)}`,
    node,
    pid: heartbeat.shape.pid.safeParse(raw.pid).data ?? 0,
    role: heartbeat.shape.role.safeParse(raw.role).data ?? 'app',
    started_at: dateOr(raw.started_at, new Date(0)),
    at: dateOr(raw.at, new Date(0)),
    expires_at: dateOr(raw.expires_at, never),
    lease_until: dateOr(raw.lease_until, never),
    current: null,
    epoch: version.safeParse(raw.epoch).data ?? null,
    loaded: [],
    settings: null,
    malformed: { what, print: digestOf(raw) },
  }
}

const row = z.object({
  _id: z.string().min(1).max(200),
  kind: z.enum(['host', 'ephemeral']),
  last_seen: z.date().nullish(),
  decommissioned_at: z.date().nullish(),
})

/** One row of `fleet_nodes`. A malformed one counts as an expected host until `nodes expect` or `decommission` repairs it. */
export function parseNode(raw: Document): NodeDoc {
  const { success, data, error } = row.safeParse(raw)
  const first_seen = dateOr(raw.first_seen, new Date(0))
  if (success) {
    const { last_seen, decommissioned_at } = data
    const { decommissioned_by: by } = raw as Record<string, unknown>
    return {
      _id: data._id,
      kind: data.kind,
      first_seen,
      last_seen: last_seen ?? null,
      decommissioned_at: decommissioned_at ?? null,
      decommissioned_by: typeof by === 'string' ? clipped(by) : null,
    }
  }
  return {
    _id: row.shape._id.safeParse(raw._id).data ?? nameOf(raw._id),
    kind: 'host',
    first_seen,
    last_seen: null,
    decommissioned_at: null,
    decommissioned_by: null,
    malformed: whatOf(error),
  }
}

function whatOf(error: z.ZodError): string {
  return error.issues[0]?.path.join('.') ?? '_id'
}

function dateOr(value: unknown, otherwise: Date): Date {
  return z.date().safeParse(value).data ?? otherwise
}

/** Changes with the document. */
function digestOf(document: Document): string {
  return createHash('sha256').update(BSON.serialize(document)).digest('hex')
}
