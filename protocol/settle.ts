import type { ProcessRole } from '../contracts/fleet.ts'
import { inSeconds, processName, type HeartbeatFact, type RosterFact } from './facts.ts'

/**
 * Settle waits until no process can wrap under the version that promote left. A process is past it when its heartbeat
 * reports promote's epoch. A silent process may wrap only for one lease after it sent its last heartbeat, so it is past
 * when the observer has seen its document unchanged, or missing, for one whole lease by the observer's own clock. No clock
 * of a host or of the database takes part, so none can shorten the wait.
 *
 * The state is JSON, because it is part of a workflow's history.
 */
export interface SettleState {
  /** The observer's clock at the last observation, in ms. */
  atMs: number
  processes: Record<string, ObservedProcess>
}

export interface ObservedProcess {
  node: string
  role: ProcessRole
  pid: number
  /** Changes with each heartbeat; `gone` when the document is not there. */
  print: string
  /** Since when the print has not changed, by the observer's clock. */
  sinceMs: number
  epoch: number | null
  leaseMs: number
  /** Its document was malformed when it was last seen. */
  malformed?: HeartbeatFact['malformed']
}

export const nothingObserved: SettleState = { atMs: 0, processes: {} }

/**
 * The next state from what the observer sees now. A document that changed or disappeared restarts the count of its
 * process: it may have been written once more between two looks. A clock that ran backwards restarts all counts.
 */
export function observe(
  previous: SettleState,
  heartbeats: readonly HeartbeatFact[],
  observerMs: number,
): SettleState {
  const isBackwards = observerMs < previous.atMs
  const processes: Record<string, ObservedProcess> = {}
  const note = (id: string, now: Omit<ObservedProcess, 'sinceMs'>) => {
    const before = previous.processes[id]
    const isSame = before?.print === now.print && !isBackwards
    processes[id] = { ...now, sinceMs: isSame ? before.sinceMs : observerMs }
  }
  for (const [id, process] of Object.entries(previous.processes)) {
    note(id, { ...process, print: 'gone' })
  }
  for (const { id, node, role, pid, at, epoch, leaseMs, malformed } of heartbeats) {
    const print = malformed?.print ?? `${at} ${epoch ?? '-'}`
    note(id, { node, role, pid, print, epoch, leaseMs, ...(malformed && { malformed }) })
  }
  return { atMs: observerMs, processes }
}

export interface SettleQuestion {
  /** The epoch that promote made. */
  epoch: number
  /** The observer's clock when promote had returned, in ms. */
  promotedMs: number
  /** The fleet's lease in ms; a document that claims a shorter one does not shorten the wait. */
  leaseMs: number
}

export interface SettleVerdict {
  done: boolean
  /** What settle waits for, one line each. */
  awaiting: string[]
  /** Nodes with a process that never reported the epoch and whose lease is over, so that it cannot wrap. */
  silent: string[]
}

/** Whether settle is over at the time of the last observation. */
export function settleVerdict(state: SettleState, question: SettleQuestion): SettleVerdict {
  const behind = Object.values(state.processes).filter(
    ({ epoch }) => epoch === null || epoch < question.epoch,
  )
  const leaseOf = (process: ObservedProcess) => Math.max(process.leaseMs, question.leaseMs)
  const unchangedMs = (process: ObservedProcess) => state.atMs - process.sinceMs
  const waiting = behind.filter((process) => unchangedMs(process) < leaseOf(process))
  const silent = behind.filter((process) => unchangedMs(process) >= leaseOf(process))
  const leaseLeftMs = question.promotedMs + question.leaseMs - state.atMs
  const awaiting = waiting
    .map((process) => {
      const silence = `${inSeconds(unchangedMs(process))} of ${inSeconds(leaseOf(process))}`
      return process.print === 'gone'
        ? `${processName(process)} is gone; its lease may run on: ${silence}`
        : `${processName(process)} has not reported epoch ${question.epoch}; unchanged for ${silence}`
    })
    .sort()
  if (leaseLeftMs > 0) awaiting.push(`one lease after promote: ${inSeconds(leaseLeftMs)} left`)
  return {
    done: awaiting.length === 0,
    awaiting,
    silent: [...new Set(silent.map(({ node }) => node))].sort(),
  }
}

/**
 * The nodes that the report names at the end: those that were silent and have not reported the epoch since, and expected
 * hosts without a heartbeat document. The latter answered verify, so they fell silent since and their documents expired.
 * None of them delays the rotation, but an operator should check them.
 */
export function silentAtEnd(
  found: readonly string[],
  roster: readonly RosterFact[],
  heartbeats: readonly HeartbeatFact[],
  epoch: number,
): string[] {
  const of = (node: string) => heartbeats.filter((heartbeat) => heartbeat.node === node)
  const isBack = (node: string) =>
    of(node).length > 0 && of(node).every((heartbeat) => (heartbeat.epoch ?? 0) >= epoch)
  const absent = roster
    .filter(({ kind, decommissioned }) => kind === 'host' && !decommissioned)
    .map(({ node }) => node)
    .filter((node) => of(node).length === 0)
  return [...new Set([...found.filter((node) => !isBack(node)), ...absent])].sort()
}
