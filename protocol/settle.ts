import type { ProcessRole } from '../contracts/fleet.ts'
import { inSeconds, processName, type HeartbeatFact, type RosterFact } from './facts.ts'

/**
 * Settle waits until nobody can wrap under the version that promote left. A process is past when its heartbeat
 * reports promote's epoch. A silent one cannot be asked; but it may wrap only for one lease after it sent its last
 * heartbeat, so it is past when the observer has seen its document unchanged, or gone, for one whole lease by the
 * observer's own clock. No clock of a host or of the database enters, so none can shorten the wait.
 *
 * The state is JSON: it lives in a workflow and travels through its history.
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
  /** Since when the print is the same, by the observer's clock. */
  sinceMs: number
  epoch: number | null
  leaseMs: number
  /** Its document could not be read when it was last seen. */
  malformed?: HeartbeatFact['malformed']
}

export const nothingObserved: SettleState = { atMs: 0, processes: {} }

/**
 * The next state from what the observer sees now. A document that changed or went restarts the count of its process:
 * between two looks it may have been written once more. So does a clock that ran backwards, for all.
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
  /** The lease of the fleet in ms; a document that claims a shorter one of its own does not shorten the wait. */
  leaseMs: number
}

export interface SettleVerdict {
  done: boolean
  /** What is waited for, a line each, in plain words. */
  awaiting: string[]
  /** Nodes with a process that never reported the epoch and whose lease is over: it cannot wrap any more. */
  silent: string[]
}

/** Whether settle is over, by the state's own moment. */
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
 * Whom the report names at the end: nodes that a look found silent and that have not come back past the epoch, and
 * expected hosts of which no heartbeat is left. Verify has met those, so they fell silent since, and so long ago that
 * their documents have expired. None of them holds anything up, but whoever reads the report should look for them.
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
