import { writeSync } from 'node:fs'
import type { DestinationStream } from 'pino'

/** How long a write waits for a pipe whose reader is late, in ms, before it is tried again. */
const busyMs = 100

/** Lines that could not be written since the process started: the metric `keyturn_log_lines_lost_total`. */
const lost = { total: 0 }

export function lostLogLines(): number {
  return lost.total
}

/**
 * Where a log is written: stderr, synchronously. A line that cannot be written (a full disk, a quota, a failing device) is
 * dropped and counted, because a process must neither end nor grow for its log. The first line that can be written again
 * follows one that says how many are missing, and why. A reader that closed the pipe gets nothing more, like with pino's own
 * destination, which would throw at a full disk.
 */
export function stderrLines(fd = 2): DestinationStream {
  let missing: { lines: number; reason: string } | null = null
  // A line was written in part: the next one must not continue it.
  let isTorn = false
  let isClosed = false

  const tryWrite = (text: string): NodeJS.ErrnoException | null => {
    const bytes = Buffer.from(isTorn ? `\n${text}` : text)
    const { written, error } = writeAll(fd, bytes)
    if (error === null) isTorn = false
    else if (written > 0) isTorn = bytes[written - 1] !== 0x0a
    return error
  }

  const write = (line: string): void => {
    if (isClosed) return
    const failed = (missing === null ? null : tryWrite(gapLine(line, missing))) ?? tryWrite(line)
    if (failed === null) {
      missing = null
      return
    }
    isClosed = failed.code === 'EPIPE'
    if (isClosed) return
    lost.total += 1
    missing = { lines: (missing?.lines ?? 0) + 1, reason: failed.message }
  }
  return { write }
}

/** Says what is missing: a JSON line where the log is of JSON lines, with the members every line of ours has. */
function gapLine(next: string, { lines, reason }: { lines: number; reason: string }): string {
  const msg = `${lines} lines of this log could not be written: ${reason}`
  if (!next.startsWith('{')) return `${msg}\n`
  return `${JSON.stringify({ level: 40, time: new Date().toISOString(), msg })}\n`
}

function writeAll(
  fd: number,
  bytes: Buffer,
): { written: number; error: NodeJS.ErrnoException | null } {
  let written = 0
  while (written < bytes.length) {
    try {
      written += writeSync(fd, bytes, written)
    } catch (thrown) {
      const error = thrown as NodeJS.ErrnoException
      if (error.code !== 'EAGAIN' && error.code !== 'EBUSY') return { written, error }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, busyMs)
    }
  }
  return { written, error: null }
}
