import { readinessHints } from '../contracts/fleet.ts'
import type { Guard } from '../contracts/views.ts'
import { isCredible, isLive, processName, type HeartbeatFact, type RosterFact } from './facts.ts'
import { guard, unused, wasUsed, type RemovalFacts } from './guard-facts.ts'

/**
 * Every expected host has a live process, and every heartbeat document reports another version, at the epoch that left
 * this one or a later epoch. Silent documents of hosts count until they expire: a frozen process may still hold the key.
 */
export function fleetPast(facts: RemovalFacts): Guard {
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
  const reports = behind.map((one) => {
    return `${processName(one)} reports version ${one.current ?? 'none'} at epoch ${one.epoch ?? 'none'}`
  })
  const findings = [...absent, ...reports].sort()
  if (findings.length === 0) {
    return guard('fleet-past', true, `all ${heartbeats.length} processes are past ${version}`)
  }
  const more = findings.length > 5 ? `; ${findings.length - 5} more` : ''
  const failed = guard('fleet-past', false, `${findings.slice(0, 5).join('; ')}${more}`)
  return absent.length > 0 ? failed : untilExpired(failed, behind)
}

/**
 * Adds when the guard will pass, if it fails only for silent documents: the process of each may be frozen, and it cannot act
 * any more once its document has expired.
 */
function untilExpired(failed: Guard, behind: readonly HeartbeatFact[]): Guard {
  if (behind.some((one) => isLive(one) || one.malformed !== undefined)) return failed
  const until = behind
    .map(({ expiresAt }) => expiresAt)
    .sort()
    .at(-1)
  if (until === undefined) return failed
  return { ...failed, detail: `${failed.detail}: silent, forgotten after ${until}`, until }
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
export function settingsAgree({ settings, heartbeats, roster, unknown }: RemovalFacts): Guard {
  if (unknown.length > 0) {
    const shown = `${unknown.slice(0, 5).join(', ')}${unknown.length > 5 ? ' and others' : ''}`
    const detail = `envelopes are under version ${shown}, of which this keystore has no row`
    return {
      ...guard('settings-agree', false, `${detail}: they are another's, or its row is gone`),
      code: 'version-unknown',
    }
  }
  const differing = heartbeats
    .filter((one) => one.settings !== null && settings !== null && one.settings !== settings)
    .filter((one) => mayStillAct(one, roster))
  const names = differing.map((one) => processName(one)).sort()
  if (names.length === 0) {
    return guard('settings-agree', true, 'the settings of all processes are the recorded ones')
  }
  const more = names.length > 5 ? ` and ${names.length - 5} more` : ''
  const who = `settings differ on ${names.slice(0, 5).join(', ')}${more}`
  const failed = guard('settings-agree', false, `${who}: ${readinessHints['config-differs']}`)
  return untilExpired(failed, differing)
}
