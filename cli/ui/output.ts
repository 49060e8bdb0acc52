/** Data goes to stdout, everything else to stderr: these are the only roads to either. */

export function printText(text: string): void {
  if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

/** One document, one line: `status --watch --json` is a document a line, and `jq` formats better than we do. */
export function printJson(document: object): void {
  process.stdout.write(`${JSON.stringify(document)}\n`)
}

/** A line for the person who watches. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/**
 * A reader that leaves early (`keyturn status | head -1`) ends the command quietly: its rotation, if there is one, is
 * Temporal's business and goes on.
 */
export function surviveClosedPipes(): void {
  const leave = (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit(Number(process.exitCode ?? 0))
  }
  process.stdout.on('error', leave)
  process.stderr.on('error', leave)
}

/** Whether a redrawn line makes sense. */
export function onTerminal(): boolean {
  return process.stderr.isTTY && process.env['TERM'] !== 'dumb'
}
