import { KeyturnError } from '../contracts/errors.ts'
import { reasonOf } from '../contracts/reasons.ts'
import { leaseState, type ClockReading, type LeaseState } from '../protocol/lease.ts'
import { openLeaseClock, type LeaseClock } from './lease-clock.ts'

/** The lease of this process: from when its last successful heartbeat was sent, and for how long. */
export class HeldLease {
  readonly #clock: LeaseClock
  #sent: ClockReading | null = null
  #leaseMs = 0
  /** Set once a loss was reported, so that each loss is reported once. */
  #isReported = true

  constructor(clock: LeaseClock = openLeaseClock()) {
    this.#clock = clock
  }

  /** Read it before a heartbeat is sent, and pass it to `renew` when the beat has succeeded. */
  now(): ClockReading {
    return this.#clock.read()
  }

  renew(sent: ClockReading, leaseMs: number): void {
    this.#sent = sent
    this.#leaseMs = leaseMs
    this.#isReported = false
  }

  revoke(): void {
    this.#sent = null
  }

  state(): LeaseState {
    return leaseState(this.#sent, this.#clock.read(), this.#leaseMs)
  }

  isYoung(): boolean {
    return this.state() === 'young'
  }

  /** The state of a lost lease, at the first call after the loss; else null. */
  lost(): LeaseState | null {
    const state = this.state()
    if (state === 'young' || this.#isReported) return null
    this.#isReported = true
    return state
  }

  close(): void {
    this.revoke()
    this.#clock.close()
  }
}

export function leaseExpired(state: LeaseState | 'proof-old', cause?: unknown): KeyturnError {
  const message = {
    none: 'this process has no lease: no heartbeat of it has succeeded',
    young: 'the lease of this process ended while it wrapped',
    expired: 'the lease of this process is over',
    'proof-old': 'the proof of the key is older than a lease',
    'clock-jumped':
      'the lease of this process is void: its clocks disagree since its last heartbeat',
  }[state]
  const why = cause instanceof Error ? `${message}: ${reasonOf(cause)}` : message
  return new KeyturnError('lease-expired', why, {
    hint: 'it wraps again after its next heartbeat: look at its way to MongoDB and at its clock',
    cause,
  })
}
