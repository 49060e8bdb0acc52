import { isatty } from 'node:tty'
import picocolors from 'picocolors'

type Colours = ReturnType<typeof picocolors.createColors>

let wanted = true

/** `--no-color` was given. `NO_COLOR` and a stream that is no terminal need no call. */
export function noColours(): void {
  wanted = false
}

/** Colours for what goes to stdout. */
export function colours(): Colours {
  return picocolors.createColors(may(1))
}

/** Colours for what goes to stderr. */
export function errorColours(): Colours {
  return picocolors.createColors(may(2))
}

/** By the descriptor: an `isTTY` that is undefined would make picocolors decide, and it colours pipes where CI is set. */
function may(descriptor: 1 | 2): boolean {
  const refused = process.argv.includes('--no-color') || (process.env['NO_COLOR'] ?? '') !== ''
  return wanted && !refused && isatty(descriptor) && process.env['TERM'] !== 'dumb'
}
