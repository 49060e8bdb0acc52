/** Three clocks of one process, read together; ms each. */
export interface ClockReading {
  /** CLOCK_MONOTONIC: stands still while the machine is suspended. */
  monotonicMs: number
  /** Time since boot with suspension, `/proc/uptime`; equal to `monotonicMs` where there is none. */
  bootMs: number
  /** The wall clock. It can only end the lease, never extend it. */
  wallMs: number
}

export type LeaseState = 'none' | 'young' | 'expired' | 'clock-jumped'

/** A wall clock set back by less than this is an NTP correction, not a restored machine. */
export const wallToleranceMs = 1000

/**
 * Whether a process may wrap: its lease counts from *before* its last successful heartbeat was sent, by the larger of
 * the monotonic clock and the boot-time clock. A wall clock that ran backwards since, or a whole lease ahead, means that
 * the machine was suspended or restored from a snapshot: `clock-jumped`.
 */
export function leaseState(
  sent: ClockReading | null,
  now: ClockReading,
  leaseMs: number,
): LeaseState {
  if (sent === null) return 'none'
  const monotonicMs = now.monotonicMs - sent.monotonicMs
  const bootMs = now.bootMs - sent.bootMs
  const wallMs = now.wallMs - sent.wallMs
  const elapsedMs = Math.max(monotonicMs, bootMs)
  if (elapsedMs >= leaseMs) return 'expired'
  if (monotonicMs < 0 || bootMs < 0) return 'clock-jumped'
  const isBack = wallMs < elapsedMs - wallToleranceMs
  const isFarAhead = wallMs >= leaseMs
  return isBack || isFarAhead ? 'clock-jumped' : 'young'
}
