import type { ErrorReport } from '../contracts/errors.ts'
import type { ProcessRole } from '../contracts/fleet.ts'
import type { Guard, GuardName } from '../contracts/views.ts'
import type { VersionLife } from './backup-needs.ts'
import type { HeartbeatFact, RosterFact } from './facts.ts'

/**
 * State of the validator that refuses the version: `stands`; `possible` (not set yet, and nothing prevents it); `missing`
 * although it should be set; `refused` (no `collMod`, or the collection's validation only warns); `without`: waived.
 */
export type FenceFact = 'stands' | 'possible' | 'missing' | 'refused' | 'without'

export interface RemovalFacts {
  version: number
  active: number | null
  /** Epoch of `kek_active`, read after the heartbeats; 0 before any version was active. */
  epoch: number
  /** The rotation whose mark is on the version's row. */
  rotation: string | null
  roster: readonly RosterFact[]
  heartbeats: readonly HeartbeatFact[]
  /** ISO 8601; null: never active, so nothing was ever wrapped under it. */
  activatedAt: string | null
  /**
   * End of the settle that left it, ISO 8601; null while it is active, or if no settle has ended since. For a version that
   * was never active: when an older state was restored, because it may have been active in the lost one.
   */
  leftAt: string | null
  /** The epoch of the promote that left it. */
  leftEpoch: number | null
  /** Census without exactly the quarantined bytes, over all collections of `kek_settings`. */
  remaining: number
  /** Recorded collections that are missing or replaced: their envelopes were not counted. */
  lost: readonly { code: ErrorReport['code']; message: string }[]
  /** Versions named by envelopes without a row in this keystore. */
  unknown: readonly number[]
  /** Odd envelopes outside quarantine: any of them may need the version. */
  odd: number
  quarantined: number
  /** Odd envelopes in quarantine. */
  oddQuarantined: number
  acceptQuarantine: boolean
  /** When the version became pending removal, ISO 8601; null: it is not. */
  requestedAt: string | null
  /** Recorded uses of the version, as long ago as they may be. */
  uses: readonly UseFact[]
  /** Documents of uses that cannot be read, of this version or of an unreadable one. */
  malformedUses: readonly string[]
  backupWindowMs: number
  /** All marked backups, kept or not. */
  backups: readonly BackupFact[]
  /** The version's history. */
  life: VersionLife
  /** The database's clock, and this process's clock, ISO 8601. */
  now: string
  ownNow: string
  /** Hash of the recorded settings in hex; null before `setup`. */
  settings: string | null
  approvalsRequired: number
  /** Approvers whose signatures were verified; the requester is none of them. */
  approvedBy: readonly string[]
  fence: FenceFact
}

/** A marked backup; times ISO 8601. `keepUntil` null: until it is dropped. */
export interface BackupFact {
  name: string
  takenAt: string
  keepUntil: string | null
}

/** Uses of a version by one process at one place; `lastAt` is ISO 8601. */
export interface UseFact {
  node: string
  pid: number
  role: ProcessRole
  collection: string
  field: string
  count: number
  lastAt: string
}

/** A guard's outcome. `detail` is one sentence about what was found. */
export function guard(name: GuardName, ok: boolean, detail: string): Guard {
  return { guard: name, ok, detail }
}

/** Whether anything was ever wrapped under a version, as far as the keystore can know. */
export function wasUsed({ activatedAt, leftAt }: RemovalFacts): boolean {
  return activatedAt !== null || leftAt !== null
}

/** A guard that a version that was never active passes. */
export function unused(name: GuardName, { version }: RemovalFacts): Guard {
  return guard(name, true, `version ${version} was never active`)
}
