import { closeSync, openSync, readSync } from 'node:fs'
import type { ClockReading } from '../protocol/lease.ts'

/**
 * The clocks of a lease. `performance.now()` is CLOCK_MONOTONIC, which stops while a machine is suspended; `/proc/uptime`
 * (proc_uptime(5), 10 ms steps) continues. Without procfs only the first one is used.
 */
export interface LeaseClock {
  read(): ClockReading
  close(): void
}

export function openLeaseClock(path = '/proc/uptime'): LeaseClock {
  let uptime = openIfThere(path)
  const buffer = Buffer.alloc(64)
  return {
    read() {
      const monotonicMs = performance.now()
      const bootMs = (uptime === null ? null : readUptimeMs(uptime, buffer)) ?? monotonicMs
      return { monotonicMs, bootMs, wallMs: Date.now() }
    },
    close() {
      if (uptime !== null) closeSync(uptime)
      uptime = null
    },
  }
}

function openIfThere(path: string): number | null {
  try {
    return openSync(path, 'r')
  } catch {
    return null
  }
}

/** A read at offset 0 gives a fresh value. The file stays open, since it is read before and after each wrap. */
function readUptimeMs(file: number, buffer: Buffer): number | null {
  const length = readSync(file, buffer, 0, buffer.length, 0)
  const seconds = Number.parseFloat(buffer.toString('latin1', 0, length))
  return Number.isFinite(seconds) ? seconds * 1000 : null
}
