import { lifeOf } from './backup-needs.ts'
import { heartbeatFact, rosterFact } from './facts.ts'
import type { FenceFact, RemovalFacts, UseFact } from './guard-facts.ts'

/** A reading of the keystore (store/removal-reading.ts), as far as the guards need it. */
export interface Reading {
  readonly row: {
    readonly _id: number
    readonly rotation: string | null
    readonly activated_at: Date | null
    readonly left_at: Date | null
    readonly left_epoch: number | null
    readonly created_at: Date
    readonly destroyed_at: Date | null
    readonly periods?: readonly { readonly activated_at: Date; readonly left_at: Date | null }[]
    readonly removal: { readonly requested_at: Date } | null
  }
  readonly active: { readonly version: number; readonly epoch: number } | null
  readonly roster: readonly Parameters<typeof rosterFact>[0][]
  readonly heartbeats: readonly Parameters<typeof heartbeatFact>[0][]
  readonly now: Date
  readonly remaining: number
  readonly lost: RemovalFacts['lost']
  readonly unknown: readonly number[]
  readonly odd: number
  readonly quarantined: number
  readonly oddQuarantined: number
  readonly uses: readonly UseRow[]
  readonly malformedUses: readonly string[]
  readonly backups: readonly BackupRow[]
  readonly fence: 'stands' | 'missing' | 'refused'
}

interface BackupRow {
  readonly _id: string
  readonly taken_at: Date
  readonly keep_until: Date | null
}

interface UseRow {
  readonly _id: { readonly node: string; readonly collection: string; readonly field: string }
  readonly pid: number
  readonly role: UseFact['role']
  readonly count: number
  readonly last_at: Date
}

/** A document of `kek_uses` as a fact. */
export function useFact({ _id, pid, role, count, last_at }: UseRow): UseFact {
  const { node, collection, field } = _id
  return { node, pid, role, collection, field, count, lastAt: last_at.toISOString() }
}

/** Input of the guards besides the reading: the recorded rules and the request's row. */
export interface RemovalRulesNow {
  readonly settings: string | null
  readonly backupWindowMs: number
  readonly approvalsRequired: number
  /** Approvers whose signatures were verified, without the requester. */
  readonly approvedBy: readonly string[]
  readonly acceptQuarantine: boolean
  readonly withoutFence: boolean
  /** The validator should be set already. */
  readonly fenced: boolean
  readonly ownNow: Date
}

/** The guards' facts. */
export function removalFacts(reading: Reading, rules: RemovalRulesNow): RemovalFacts {
  const { row, active, now } = reading
  return {
    version: row._id,
    active: active?.version ?? null,
    epoch: active?.epoch ?? 0,
    rotation: row.rotation,
    roster: reading.roster.map((each) => rosterFact(each, now)),
    heartbeats: reading.heartbeats.map((each) => heartbeatFact(each, now)),
    activatedAt: row.activated_at?.toISOString() ?? null,
    leftAt: row.left_at?.toISOString() ?? null,
    leftEpoch: row.left_epoch,
    remaining: reading.remaining,
    lost: reading.lost,
    unknown: reading.unknown,
    odd: reading.odd,
    quarantined: reading.quarantined,
    oddQuarantined: reading.oddQuarantined,
    requestedAt: row.removal?.requested_at.toISOString() ?? null,
    uses: reading.uses.map(useFact),
    malformedUses: reading.malformedUses,
    acceptQuarantine: rules.acceptQuarantine,
    backupWindowMs: rules.backupWindowMs,
    backups: reading.backups.map(({ _id: name, taken_at, keep_until }) => ({
      name,
      takenAt: taken_at.toISOString(),
      keepUntil: keep_until?.toISOString() ?? null,
    })),
    life: lifeOf(row, reading.quarantined + reading.oddQuarantined + reading.odd > 0),
    now: now.toISOString(),
    ownNow: rules.ownNow.toISOString(),
    settings: rules.settings,
    approvalsRequired: rules.approvalsRequired,
    approvedBy: rules.approvedBy,
    fence: fenceFact(reading.fence, rules),
  }
}

function fenceFact(found: Reading['fence'], { withoutFence, fenced }: RemovalRulesNow): FenceFact {
  if (withoutFence) return 'without'
  if (found === 'missing') return fenced ? 'missing' : 'possible'
  return found
}
