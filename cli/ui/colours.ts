import picocolors from 'picocolors'

type Colours = ReturnType<typeof picocolors.createColors>

let wanted = true

/** `--no-color` was given. `NO_COLOR` and a stream that is no terminal need no call. */
export function noColours(): void {
  wanted = false
}

/** Colours for what goes to stdout. */
export function colours(): Colours {
  return picocolors.createColors(may(process.stdout))
}

/** Colours for what goes to stderr. */
export function errorColours(): Colours {
  return picocolors.createColors(may(process.stderr))
}

function may(stream: NodeJS.WriteStream): boolean {
  const refused = process.argv.includes('--no-color') || (process.env['NO_COLOR'] ?? '') !== ''
  return wanted && !refused && stream.isTTY && process.env['TERM'] !== 'dumb'
}
