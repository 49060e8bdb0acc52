import { writeFileSync } from 'node:fs'

/**
 * Keeps memory out of core dumps of this process and of those that it starts (Linux, core(5)): a dump has registers and no
 * contents, so no PIN, key or plaintext. Works where a limit of the size does not: a dump that the kernel pipes into a program
 * (systemd-coredump, apport) has no limit. Elsewhere, and where /proc is read-only, nothing happens.
 */
export function keepMemoryOutOfCoreDumps(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0')
  } catch {
    // Another system, or a /proc that is read-only or missing.
  }
}
