import { closeSync, openSync, readSync } from 'node:fs'
import type { ClockReading } from '../protocol/lease.ts'

/**
 * The clocks that a lease is counted by. `performance.now()` is CLOCK_MONOTONIC, which stands still while a machine is
 * suspended; `/proc/uptime` (proc_uptime(5), 10 ms steps) goes on. Where there is no procfs the first one must do.
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

/** One read at offset 0 gives a fresh value; the file stays open, since this is asked before and after each wrap. */
function readUptimeMs(file: number, buffer: Buffer): number | null {
  const length = readSync(file, buffer, 0, buffer.length, 0)
  const seconds = Number.parseFloat(buffer.toString('latin1', 0, length))
  return Number.isFinite(seconds) ? seconds * 1000 : null
}
