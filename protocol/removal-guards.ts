import type { ErrorReport } from '../contracts/errors.ts'
import { readinessHints } from '../contracts/fleet.ts'
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
 * State of the validator that refuses the version: `stands`; `possible` (not set yet, and nothing prevents it); `missing`
 * although it should be set; `refused` (no `collMod`, or the collection's validation only warns); `without`: waived.
 */
export type FenceFact = 'stands' | 'possible' | 'missing' | 'refused' | 'without'

/** How far the clock of this process may be from the database's. A window is over only by both clocks. */
const clocksApartMs = 5 * 60_000

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
  backupWindowMs: number
  /** The database's clock, and this process's clock, ISO 8601. */
  now: string
  ownNow: string
  /** Hash of the recorded settings in hex; null before `setup`. */
  settings: string | null
  approvalsRequired: number
  /** Approvers; verified signatures only. */
  approvedBy: readonly string[]
  requestedBy: string
  fence: FenceFact
}

/**
 * All guards of a removal, in display order, each with a sentence about what was found. A version that was never active
 * passes `fleet-past`, `backup-window` and `fence`: nothing was ever wrapped under it.
 */
export function removalGuards(facts: RemovalFacts): Guard[] {
  return [
    notActive(facts),
    noRotation(facts),
    fleetPast(facts),
    settingsAgree(facts),
    censusZero(facts),
    quarantineEmpty(facts),
    backupWindow(facts),
    approvals(facts),
    fence(facts),
  ]
}

/** Why a version is not removed, as an error; null when all guards pass. */
export function refusalOf(version: number, guards: readonly Guard[]): ErrorReport | null {
  const failing = guards.filter(({ ok }) => !ok)
  const [first, second] = failing
  if (first === undefined) return null
  const own = first.code ?? codes[first.guard]
  const lost = failing.find(({ guard }) => guard === 'census-zero')?.code
  return {
    code: lost ?? (second === undefined && own !== undefined ? own : 'removal-refused'),
    message: `version ${version} may not be removed: ${failing.map((each) => each.guard).join(', ')}`,
    hint: first.detail,
  }
}

/** Codes of guards that have their own, used if no other guard fails. */
const codes: Partial<Record<GuardName, ErrorReport['code']>> = {
  fence: 'no-fence',
  approvals: 'approval-missing',
  'settings-agree': 'config-differs',
}

function guard(name: GuardName, ok: boolean, detail: string): Guard {
  return { guard: name, ok, detail }
}

/** Whether anything was ever wrapped under a version, as far as the keystore can know. */
function wasUsed({ activatedAt, leftAt }: RemovalFacts): boolean {
  return activatedAt !== null || leftAt !== null
}

/** A guard that a version that was never active passes. */
function unused(name: GuardName, { version }: RemovalFacts): Guard {
  return guard(name, true, `version ${version} was never active`)
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
 * Every expected host has a live process, and every heartbeat document reports another version, at the epoch that left
 * this one or a later epoch. Silent documents of hosts count until they expire: a frozen process may still hold the key.
 */
function fleetPast(facts: RemovalFacts): Guard {
  const { version, leftEpoch, roster, heartbeats } = facts
  const ahead = aheadOf(facts)
  if (ahead !== null) return ahead
  if (!wasUsed(facts)) return unused('fleet-past', facts)
  const absent = roster
    .filter(({ kind, decommissioned }) => kind === 'host' && !decommissioned)
    .filter(({ node }) => !heartbeats.some((one) => one.node === node && isCredible(one)))
    .map(({ node }) => `${node} has no live process`)
  const behind = heartbeats
    .filter((one) => mayStillAct(one, roster))
    .filter(({ current, epoch, malformed }) => {
      return (
        malformed !== undefined ||
        current === version ||
        (leftEpoch !== null && (epoch ?? 0) < leftEpoch)
      )
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

/** A process that has seen a higher epoch knows a newer state of this keystore, and may hold wraps made in it. */
function aheadOf({ epoch, roster, heartbeats }: RemovalFacts): Guard | null {
  const one = heartbeats.find((each) => (each.epoch ?? 0) > epoch && mayStillAct(each, roster))
  if (one === undefined) return null
  const seen = `${processName(one)} has seen epoch ${one.epoch}, the keystore has ${epoch}`
  return {
    ...guard('fleet-past', false, `${seen}: if an older state was restored, run keyturn setup --restored`), // prettier-ignore
    code: 'keystore-older',
  }
}

/** A live document, or one of an expected host: a frozen process may wake. */
function mayStillAct(heartbeat: HeartbeatFact, roster: readonly RosterFact[]): boolean {
  const row = roster.find(({ node }) => node === heartbeat.node)
  return isLive(heartbeat) || (row?.kind === 'host' && !row.decommissioned)
}

/** A process with other settings may store envelopes in collections that are not counted. One that reports none passes. */
function settingsAgree({ settings, heartbeats, roster, unknown }: RemovalFacts): Guard {
  if (unknown.length > 0) {
    const shown = `${unknown.slice(0, 5).join(', ')}${unknown.length > 5 ? ' and others' : ''}`
    const detail = `envelopes are under version ${shown}, of which this keystore has no row`
    return {
      ...guard('settings-agree', false, `${detail}: they are another's, or its row is gone`),
      code: 'version-unknown',
    }
  }
  const names = heartbeats
    .filter((one) => one.settings !== null && settings !== null && one.settings !== settings)
    .filter((one) => mayStillAct(one, roster))
    .map((one) => processName(one))
    .sort()
  if (names.length === 0) {
    return guard('settings-agree', true, 'the settings of all processes are the recorded ones')
  }
  const more = names.length > 5 ? ` and ${names.length - 5} more` : ''
  const who = `settings differ on ${names.slice(0, 5).join(', ')}${more}`
  return guard('settings-agree', false, `${who}: ${readinessHints['config-differs']}`)
}

function censusZero({ version, remaining, odd, lost }: RemovalFacts): Guard {
  const [first] = lost
  if (first !== undefined) {
    const detail = lost.map(({ message }) => message).join('; ')
    return { ...guard('census-zero', false, detail), code: first.code }
  }
  const found = [
    ...(remaining === 0 ? [] : [`${remaining} envelopes are under version ${version}`]),
    ...(odd === 0 ? [] : [`${odd} odd envelopes may be: keyturn quarantine scan`]),
  ]
  return found.length === 0
    ? guard('census-zero', true, `no envelope is under version ${version}`)
    : guard('census-zero', false, found.join('; '))
}

function quarantineEmpty(facts: RemovalFacts): Guard {
  const { version, quarantined, oddQuarantined, acceptQuarantine } = facts
  if (quarantined + oddQuarantined === 0) {
    return guard('quarantine-empty', true, `nothing of version ${version} is in quarantine`)
  }
  const held = [
    ...(quarantined === 0 ? [] : [`${quarantined} envelopes of version ${version}`]),
    ...(oddQuarantined === 0 ? [] : [`${oddQuarantined} odd envelopes`]),
  ]
  const text = `${held.join(' and ')} are in quarantine`
  return acceptQuarantine
    ? guard('quarantine-empty', true, `${text}, accepted: they will never open again`)
    : guard('quarantine-empty', false, `${text}: repair them, or use --accept-quarantine`)
}

/** A backup may hold the version until the end of the settle that left it. Becoming active again restarts the window. */
function backupWindow(facts: RemovalFacts): Guard {
  const { version, activatedAt, leftAt, backupWindowMs, now, ownNow } = facts
  if (!wasUsed(facts)) return unused('backup-window', facts)
  if (leftAt === null || (activatedAt !== null && Date.parse(leftAt) < Date.parse(activatedAt))) {
    return guard('backup-window', false, `no rotation has settled that left version ${version}`)
  }
  if (clocksDiffer(now, ownNow)) {
    const clocks = `the database's clock says ${now}, this process's ${ownNow}`
    return {
      ...guard('backup-window', false, `${clocks}: set the clocks right, then ask again`),
      code: 'clock-differs',
    }
  }
  const overAtMs = Date.parse(leftAt) + backupWindowMs
  const leftMs = overAtMs - Math.min(Date.parse(now), Date.parse(ownNow))
  if (leftMs <= 0) {
    return guard('backup-window', true, `left at ${leftAt}; the backup window is over`)
  }
  const until = new Date(overAtMs).toISOString()
  const detail = `left at ${leftAt}; the window runs until ${until}, ${inSeconds(leftMs)} more`
  return { ...guard('backup-window', false, detail), until }
}

/** Whether two clocks are too far apart to trust either. */
export function clocksDiffer(now: string, ownNow: string): boolean {
  return Math.abs(Date.parse(now) - Date.parse(ownNow)) > clocksApartMs
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
  refused:
    'no fence can hold: grant collMod, let the rules of the collections be enforced, or use --without-fence',
  without:
    'no fence: a write that was held up can still bring the version back, unreadable for ever',
}

function fence(facts: RemovalFacts): Guard {
  const { fence: state } = facts
  if (!wasUsed(facts)) return unused('fence', facts)
  return guard('fence', state !== 'missing' && state !== 'refused', fenceDetails[state])
}
