import type { HeartbeatFact, RosterFact } from '../../protocol/facts.ts'
import { leaseState } from '../../protocol/lease.ts'
import type { RemovalFacts } from '../../protocol/removal-guards.ts'
import { observe, settleVerdict } from '../../protocol/settle.ts'
import type { SettleState, SettleVerdict } from '../../protocol/settle.ts'
import type { RouteVersion } from '../../protocol/rotation-route.ts'
import { versionState } from '../../protocol/version-state.ts'
import type { Bounds, Process, Rotation, State } from './state.ts'
import { rowOf } from './state.ts'

/** The model's state in the words of `protocol/`: every decision below is taken by a function of that room. */

const tickMs = 1000
const moment = (seconds: number) => new Date(seconds * tickMs).toISOString()
const times = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(moment)
/** When verify asked; what it heard before and after. */
const [started = '', bitZero = '', bitOne = '', before = '', asked = '', after = ''] = times

export function mayWrap(process: Process, bounds: Bounds): boolean {
  if (!bounds.rules.lease) return true
  const sent = process.lease === null ? null : readingAt(0)
  const now = readingAt((process.lease ?? 0) * tickMs)
  return leaseState(sent, now, bounds.lease * tickMs) === 'young'
}

const readingAt = (ms: number) => ({ monotonicMs: ms, bootMs: ms, wallMs: ms })

export function heartbeatsOf(state: State, bounds: Bounds, at = atOf): HeartbeatFact[] {
  const facts: HeartbeatFact[] = []
  for (const [index, process] of state.processes.entries()) {
    const { doc } = process
    if (doc === null) continue
    const provenAt = doc.isAsked ? after : before
    facts.push({
      ...{ id: `n${index}/b`, node: `n${index}`, boot: 'b', pid: index, role: 'app' },
      ...{ startedAt: started, at: at(process), ageMs: doc.age * tickMs, settings: null },
      ...{ leaseMs: bounds.lease * tickMs, epoch: doc.epoch === 0 ? null : doc.epoch },
      ...{ current: doc.current === 0 ? null : doc.current, notLoaded: [] },
      loaded: doc.loaded.map((version) => ({ version, provenAt })),
    })
  }
  return facts
}

const atOf = ({ doc }: Process) => (doc?.isAsked === true ? after : before)

/** Whoever was ever seen. */
export function rosterOf(state: State, bounds: Bounds): RosterFact[] {
  return state.processes.flatMap((process, index) =>
    process.alive || process.doc !== null
      ? [
          {
            node: `n${index}`,
            kind: bounds.processes[index]?.kind ?? 'host',
            decommissioned: false,
            seenMsAgo: null,
          },
        ]
      : [],
  )
}

export const readinessFacts = (state: State, bounds: Bounds, target: number) => ({
  ...{ target, askedAt: asked, roster: rosterOf(state, bounds), answers: [], settings: null },
  heartbeats: heartbeatsOf(state, bounds),
})

/** One look of settle's observer: the processes' `seen` are renewed in place. */
export function lookAt(state: State, rotation: Rotation, bounds: Bounds): SettleVerdict {
  const nowMs = 100 * tickMs
  const isoOf = (bit: number) => (bit === 0 ? bitZero : bitOne)
  const before: SettleState = { atMs: nowMs, processes: {} }
  const bits = state.processes.map(({ seen, doc }) => {
    const old = seen?.bit ?? 0
    return doc?.isNew === true ? 1 - old : old
  })
  for (const [index, { seen }] of state.processes.entries()) {
    if (seen === null) continue
    const epoch = seen.epoch === 0 ? null : seen.epoch
    before.processes[`n${index}/b`] = {
      ...{ node: `n${index}`, role: 'app', pid: index, epoch, leaseMs: bounds.lease * tickMs },
      print: seen.gone ? 'gone' : `${isoOf(seen.bit)} ${epoch ?? '-'}`,
      sinceMs: nowMs - seen.age * tickMs,
    }
  }
  const at = (process: Process) => isoOf(bits[state.processes.indexOf(process)] ?? 0)
  const now = observe(before, heartbeatsOf(state, bounds, at), nowMs)
  for (const [index, process] of state.processes.entries()) {
    const seen = now.processes[`n${index}/b`]
    if (seen === undefined) continue
    process.seen = {
      ...{ bit: bits[index] ?? 0, gone: seen.print === 'gone', epoch: seen.epoch ?? 0 },
      age: Math.min((nowMs - seen.sinceMs) / tickMs, bounds.lease),
    }
    if (process.doc !== null) process.doc = { ...process.doc, isNew: false }
  }
  return settleVerdict(now, {
    ...{ epoch: rotation.newEpoch, leaseMs: bounds.lease * tickMs },
    promotedMs: nowMs - (rotation.round ?? 0) * tickMs,
  })
}

export function censusOf(state: State, version: number): number {
  return state.envelopes.filter(({ v }) => v === version).length
}

export function versionsOf(state: State): RouteVersion[] {
  return [1, 2].map((version) => {
    const row = rowOf(state, version)
    const facts = {
      ...{ _id: version, canary: true, activated_at: row.activated ? started : null },
      removal: row.removal === 0 ? null : row.removal,
      destroyed_at: row.destroyed ? started : null,
    }
    const envelopes = censusOf(state, version)
    return { version, state: versionState(facts, state.active.v), envelopes }
  })
}

/** What removal's guards are judged by. No window, no approvals: they are not about order. */
export function removalFacts(state: State, bounds: Bounds, version: number): RemovalFacts {
  const row = rowOf(state, version)
  return {
    ...{ version, active: state.active.v, rotation: row.mark === 0 ? null : `r${row.mark}` },
    ...{ roster: rosterOf(state, bounds), heartbeats: heartbeatsOf(state, bounds) },
    activatedAt: row.activated ? started : null,
    leftAt: row.left ? asked : null,
    leftEpoch: row.leftEpoch === 0 ? null : row.leftEpoch,
    ...{ remaining: censusOf(state, version), quarantined: 0, acceptQuarantine: false },
    ...{
      backupWindowMs: 0,
      now: after,
      ownNow: after,
      settings: null,
      approvalsRequired: 0,
      approvedBy: [],
      requestedBy: 'x',
    },
    fence: !bounds.rules.fence ? 'without' : state.fenced === version ? 'stands' : 'missing',
  }
}
