import type { ErrorReport } from '../contracts/errors.ts'
import type { Guard, GuardName } from '../contracts/views.ts'
import { backupWindow } from './backup-window.ts'
import { backups } from './backups-guard.ts'
import { fleetPast, settingsAgree } from './fleet-guards.ts'
import { notUsed } from './not-used.ts'
import { guard, unused, wasUsed, type FenceFact, type RemovalFacts } from './guard-facts.ts'

/**
 * All guards of a removal, in display order, each with a sentence about what was found. A version that was never active
 * passes `fleet-past`, `not-used`, `backup-window` and `fence`: nothing was ever wrapped under it.
 */
export function removalGuards(facts: RemovalFacts): Guard[] {
  return [
    notActive(facts),
    noRotation(facts),
    fleetPast(facts),
    settingsAgree(facts),
    censusZero(facts),
    quarantineEmpty(facts),
    notUsed(facts),
    backupWindow(facts),
    backups(facts),
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

function approvals({ approvalsRequired, approvedBy }: RemovalFacts): Guard {
  const others = new Set(approvedBy)
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
