import { expect } from 'vitest'
import type { ReplicaSet } from '../../devstack/replica-set.ts'
import type { Fleet } from './fleet.ts'
import type { SetFault } from './set-faults.ts'
import type { Gate } from './set-gates.ts'

/** Timings of a fleet that outlasts an election of some seconds within one lease. */
export const throughElections = { heartbeat: '1s', lease: '10s', expire: '13s' }
/** The same for an election that comes after a minority has taken writes for some seconds: a proof lasts two leases. */
export const throughRollbacks = { heartbeat: '1s', lease: '20s', expire: '26s' }
const longestLeaseMs = 20_000
/** Retries of a step begin up to ten seconds apart; the rest is for a busy machine. */
const slackMs = 40_000

export interface Meeting {
  /** The step that meets the fault. */
  step: string
  gate: Gate
  /** Runs when another member is primary, before the set is whole again: lets the step go. */
  letGo?: () => Promise<void>
  /** Whether the step is done. */
  isPassed: () => Promise<boolean>
  /** Runs when it is, before the set is whole again: holds the next step. */
  hold?: () => Promise<unknown>
}

/** Steps of Keyturn that meet one fault, and how long each of them waited. */
export class FaultRun {
  readonly set: ReplicaSet
  readonly fleet: Fleet
  readonly fault: SetFault
  readonly #waits: string[] = []

  constructor(set: ReplicaSet, fleet: Fleet, fault: SetFault) {
    this.set = set
    this.fleet = fleet
    this.fault = fault
  }

  /** A step that the gate holds meets the fault, and then is done within an election and a lease. */
  async meet({ step, gate, letGo, isPassed, hold }: Meeting): Promise<void> {
    const electionMs = await this.fault.strike(gate)
    const free = performance.now()
    await gate.release()
    await letGo?.()
    await this.fleet.until(`"${step}" does not continue: ${this.fault.title}`, isPassed, 120_000)
    const waitedMs = performance.now() - free
    this.#waits.push(`${step} ${inSeconds(electionMs)} + ${inSeconds(waitedMs)}`)
    expect(waitedMs, this.figures()).toBeLessThan(longestLeaseMs + slackMs)
    await hold?.()
    await this.fault.mend()
    await gate.end()
  }

  /** For each step: seconds without a primary, and seconds until the step was done. */
  figures(): string {
    return `${this.fault.title}: ${this.#waits.join(', ')}`
  }
}

function inSeconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}
