import type { Guard, GuardName } from '../contracts/views.ts'
import {
  inSeconds,
  isCredible,
  isLive,
  processName,
  type HeartbeatFact,
  type RosterFact,
} from './facts.ts'

/**
 * What is known of the fence: it `stands`; it is `possible` (asked before it is raised); it is `missing` although it
 * should stand; it was `refused` (no `collMod`); or the operator goes `without` it.
 */
export type FenceFact = 'stands' | 'possible' | 'missing' | 'refused' | 'without'

export interface RemovalFacts {
  version: number
  active: number | null
  /** The rotation marked on the version's row. */
  rotation: string | null
  roster: readonly RosterFact[]
  heartbeats: readonly HeartbeatFact[]
  /** ISO 8601; null: never active, so nothing was ever wrapped under it. */
  activatedAt: string | null
  /** End of the settle that left it, ISO 8601; null while it is active, or when no settle has ended since. */
  leftAt: string | null
  /** The epoch of the promote that left it. */
  leftEpoch: number | null
  /** Census without exactly the quarantined bytes, over all collections of `kek_settings`. */
  remaining: number
  quarantined: number
  acceptQuarantine: boolean
  backupWindowMs: number
  /** The database's clock, ISO 8601. */
  now: string
  approvalsRequired: number
  /** Who approved; verified signatures only. */
  approvedBy: readonly string[]
  requestedBy: string
  fence: FenceFact
}

/** All eight guards of a removal, in the order in which they are shown; each with a sentence that says what was found. */
export function removalGuards(facts: RemovalFacts): Guard[] {
  return [
    notActive(facts),
    noRotation(facts),
    fleetPast(facts),
    censusZero(facts),
    quarantineEmpty(facts),
    backupWindow(facts),
    approvals(facts),
    fence(facts),
  ]
}

function guard(name: GuardName, ok: boolean, detail: string): Guard {
  return { guard: name, ok, detail }
}

function notActive({ version, active }: RemovalFacts): Guard {
  if (version === active) {
    return guard('not-active', false, `version ${version} is active: rotate to another one first`)
  }
  return guard('not-active', true, `version ${active ?? 'none'} is active, not ${version}`)
}

function noRotation({ version, rotation }: RemovalFacts): Guard {
  return rotation === null
    ? guard('no-rotation', true, `no rotation is marked on version ${version}`)
    : guard('no-rotation', false, `rotation ${rotation} is marked on version ${version}`)
}

/**
 * Every expected host has a live process, and every document that is there reports another version at an epoch not
 * before the one that left N. Silent documents of hosts count until they expire: a frozen process may still hold N.
 */
function fleetPast(facts: RemovalFacts): Guard {
  const { version, leftEpoch, roster, heartbeats } = facts
  const absent = roster
    .filter(({ kind, decommissioned }) => kind === 'host' && !decommissioned)
    .filter(({ node }) => !heartbeats.some((one) => one.node === node && isCredible(one)))
    .map(({ node }) => `${node} has no live process`)
  const rowOf = (node: string) => roster.find((row) => row.node === node)
  const behind = heartbeats
    .filter((one) => {
      const row = rowOf(one.node)
      return isLive(one) || (row?.kind === 'host' && !row.decommissioned)
    })
    .filter(({ current, epoch }) => {
      return current === version || (leftEpoch !== null && (epoch ?? 0) < leftEpoch)
    })
    .map((one) => {
      return `${processName(one)} reports version ${one.current ?? 'none'} at epoch ${one.epoch ?? 'none'}`
    })
  const findings = [...absent, ...behind].sort()
  if (findings.length === 0) {
    return guard('fleet-past', true, `all ${heartbeats.length} processes are past ${version}`)
  }
  const more = findings.length > 5 ? `; ${findings.length - 5} more` : ''
  return guard('fleet-past', false, `${findings.slice(0, 5).join('; ')}${more}`)
}

function censusZero({ version, remaining }: RemovalFacts): Guard {
  return remaining === 0
    ? guard('census-zero', true, `no envelope is under version ${version}`)
    : guard('census-zero', false, `${remaining} envelopes are under version ${version}`)
}

function quarantineEmpty({ version, quarantined, acceptQuarantine }: RemovalFacts): Guard {
  if (quarantined === 0) {
    return guard('quarantine-empty', true, `nothing of version ${version} is in quarantine`)
  }
  const held = `${quarantined} envelopes of version ${version} are in quarantine`
  return acceptQuarantine
    ? guard('quarantine-empty', true, `${held}, accepted: they will never open again`)
    : guard('quarantine-empty', false, `${held}: repair them, or use --accept-quarantine`)
}

/** A backup may hold N until the end of the settle that left it; a version that became active again starts anew. */
function backupWindow(facts: RemovalFacts): Guard {
  const { version, activatedAt, leftAt, backupWindowMs, now } = facts
  if (activatedAt === null) {
    return guard('backup-window', true, `version ${version} was never active`)
  }
  if (leftAt === null || Date.parse(leftAt) < Date.parse(activatedAt)) {
    return guard('backup-window', false, `no rotation has settled that left version ${version}`)
  }
  const overAtMs = Date.parse(leftAt) + backupWindowMs
  const leftMs = overAtMs - Date.parse(now)
  return leftMs <= 0
    ? guard('backup-window', true, `left at ${leftAt}; the backup window is over`)
    : guard(
        'backup-window',
        false,
        `left at ${leftAt}; the window runs until ${new Date(overAtMs).toISOString()}, ${inSeconds(leftMs)} more`,
      )
}

function approvals({ approvalsRequired, approvedBy, requestedBy }: RemovalFacts): Guard {
  const others = new Set(approvedBy)
  others.delete(requestedBy)
  const detail =
    approvalsRequired === 0
      ? 'no approval is required'
      : `${others.size} of ${approvalsRequired} approvals, the requester's own not counted`
  return guard('approvals', others.size >= approvalsRequired, detail)
}

const fenceDetails: Record<FenceFact, string> = {
  stands: 'MongoDB refuses writes that name the version',
  possible: 'MongoDB will refuse writes that name the version',
  missing: 'the validator that should refuse the version is not there',
  refused: 'this user may not set validators: grant collMod, or use --without-fence',
  without:
    'no fence: a write that was held up can still bring the version back, unreadable for ever',
}

function fence({ fence: state }: RemovalFacts): Guard {
  return guard('fence', state !== 'missing' && state !== 'refused', fenceDetails[state])
}
