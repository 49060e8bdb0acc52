import type { HeartbeatFact, RosterFact } from '../../protocol/facts.ts'
import { leaseState } from '../../protocol/lease.ts'
import { countingNonces } from '../../protocol/proof-question.ts'
import { isQuestionOld } from '../../protocol/proven-in-all.ts'
import type { RemovalFacts } from '../../protocol/guard-facts.ts'
import { observe, settleVerdict } from '../../protocol/settle.ts'
import type { SettleState, SettleVerdict } from '../../protocol/settle.ts'
import type { RouteVersion } from '../../protocol/rotation-route.ts'
import { versionState } from '../../protocol/version-state.ts'
import type { Bounds, Process, Rotation, State } from './state.ts'
import { rowOf } from './state.ts'

/** Converts the model's state to the inputs of `protocol/`; its functions take every decision below. */

const tickMs = 1000
const moment = (seconds: number) => new Date(seconds * tickMs).toISOString()
const times = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(moment)
const [started = '', bitZero = '', bitOne = '', written = '', asked = '', after = ''] = times

export function mayWrap(process: Process, bounds: Bounds): boolean {
  if (!bounds.rules.lease) return true
  const sent = process.lease === null ? null : readingAt(0)
  const now = readingAt((process.lease ?? 0) * tickMs)
  return leaseState(sent, now, bounds.lease * tickMs) === 'young'
}

const readingAt = (ms: number) => ({ monotonicMs: ms, bootMs: ms, wallMs: ms })

export function heartbeatsOf(
  state: State,
  bounds: Bounds,
  at: (process: Process) => string = () => written,
): HeartbeatFact[] {
  const facts: HeartbeatFact[] = []
  for (const [index, process] of state.processes.entries()) {
    const { doc } = process
    if (doc === null) continue
    facts.push({
      id: `n${index}/b`,
      node: `n${index}`,
      boot: 'b',
      pid: index,
      role: 'app',
      startedAt: started,
      at: at(process),
      ageMs: doc.age * tickMs,
      settings: null,
      reportsUses: true,
      leaseMs: bounds.lease * tickMs,
      expiresAt: after,
      epoch: doc.epoch === 0 ? null : doc.epoch,
      current: doc.current === 0 ? null : doc.current,
      notLoaded: [],
      loaded: doc.loaded.map((version) => ({
        version,
        provenAt: written,
        answers: String(doc.answers[version] ?? 0),
      })),
    })
  }
  return facts
}

/** Every process that was ever seen. */
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

/** The nonces that count for a rotation; when old answers count, all earlier nonces and none (0) as well. */
export function noncesOf(state: State, bounds: Bounds, rotation: Rotation, to: number): string[] {
  const all = Array.from({ length: state.nextNonce }, (_, nonce) => String(nonce))
  if (!bounds.rules.freshAnswers) return all
  const questions = state.questions.map(({ nonce, target }) => ({
    nonce: String(nonce),
    target: target === 0 ? null : target,
  }))
  return countingNonces(questions, String(rotation.nonce), to)
}

/** Whether an answer to the rotation's question may be older than two leases. */
export function isOld(bounds: Bounds, { nonce, askedAge }: Rotation): boolean {
  if (!bounds.rules.freshAnswers) return false
  return isQuestionOld(nonce === 0 ? null : askedAge * tickMs, bounds.lease * tickMs)
}

/** Whether a process's last proof of a version still allows it to wrap. */
export function isProven(process: Process, bounds: Bounds, version: number): boolean {
  if (!bounds.rules.freshProofs) return true
  const age = process.proofs[version as 1 | 2] ?? null
  const begun = age === null ? null : readingAt(0)
  return leaseState(begun, readingAt((age ?? 0) * tickMs), bounds.lease * tickMs) === 'young'
}

export const readinessFacts = (
  state: State,
  bounds: Bounds,
  { rotation, target }: { rotation: Rotation; target: number },
) => ({
  target,
  nonces: noncesOf(state, bounds, rotation, target),
  settings: null,
  roster: rosterOf(state, bounds),
  answers: [],
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
      node: `n${index}`,
      role: 'app',
      pid: index,
      epoch,
      leaseMs: bounds.lease * tickMs,
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
      bit: bits[index] ?? 0,
      gone: seen.print === 'gone',
      epoch: seen.epoch ?? 0,
      age: Math.min((nowMs - seen.sinceMs) / tickMs, bounds.lease),
    }
    if (process.doc !== null) process.doc = { ...process.doc, isNew: false }
  }
  return settleVerdict(now, {
    epoch: rotation.newEpoch,
    leaseMs: bounds.lease * tickMs,
    promotedMs: nowMs - (rotation.round ?? 0) * tickMs,
  })
}

export function censusOf(state: State, version: number): number {
  return state.envelopes.filter(({ v, odd }) => v === version && odd !== true).length
}

export function versionsOf(state: State): RouteVersion[] {
  return [1, 2].map((version) => {
    const row = rowOf(state, version)
    const facts = {
      _id: version,
      canary: true,
      activated_at: row.activated ? started : null,
      removal: row.removal === 0 ? null : row.removal,
      destroyed_at: row.destroyed ? started : null,
    }
    const envelopes = censusOf(state, version)
    return { version, state: versionState(facts, state.active.v), envelopes }
  })
}

/** The facts for the guards of a removal, without windows and approvals, which do not depend on the order of steps. */
export function removalFacts(state: State, bounds: Bounds, version: number): RemovalFacts {
  const row = rowOf(state, version)
  return {
    version,
    active: state.active.v,
    rotation: row.mark === 0 ? null : `r${row.mark}`,
    roster: rosterOf(state, bounds),
    heartbeats: heartbeatsOf(state, bounds),
    activatedAt: row.activated ? started : null,
    leftAt: row.left ? asked : null,
    leftEpoch: row.leftEpoch === 0 ? null : row.leftEpoch,
    epoch: state.active.epoch,
    remaining: censusOf(state, version),
    lost: [],
    unknown: [],
    odd: bounds.rules.oddCounts ? state.envelopes.filter(({ odd }) => odd === true).length : 0,
    quarantined: 0,
    oddQuarantined: 0,
    acceptQuarantine: false,
    requestedAt: null,
    uses: [],
    malformedUses: [],
    backups: [],
    life: { periods: [], destroyedAt: null, isHeld: false },
    backupWindowMs: 0,
    now: after,
    ownNow: after,
    settings: null,
    approvalsRequired: 0,
    approvedBy: [],
    fence: !bounds.rules.fence ? 'without' : state.fenced === version ? 'stands' : 'missing',
  }
}
