/** Data goes to stdout, everything else to stderr. Only these functions write to either. */

export function printText(text: string): void {
  if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`)
}

/** One document in one line, so that `status --watch --json` prints a document a line. */
export function printJson(document: object): void {
  process.stdout.write(`${JSON.stringify(document)}\n`)
}

/** Prints a line for the person who watches. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

/**
 * A reader that closes the pipe early (`keyturn status | head -1`) ends the command without an error. A rotation that it
 * follows continues in Temporal. Data that cannot be written is an error, a note (stderr on a full disk) is not: there is
 * no place left to say it.
 */
export function surviveClosedPipes(): void {
  const leave = () => process.exit(Number(process.exitCode ?? 0))
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    leave()
  })
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') leave()
  })
}

/** Whether a redrawn line makes sense. */
export function onTerminal(): boolean {
  return process.stderr.isTTY && process.env['TERM'] !== 'dumb'
}
