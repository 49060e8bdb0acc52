import { CommanderError } from 'commander'
import { KeyturnError } from '../../contracts/errors.ts'
import { asSystemError, reasonOf } from '../../contracts/reasons.ts'
import { errorColours } from './colours.ts'
import { note, printJson } from './output.ts'
import { withoutOwnHint } from './own-hint.ts'

/** The command that runs in this process, with its group: `quarantine list`. */
const running = { command: '' }

export function noteCommand(command: string): void {
  running.command = command
}

/** The error without a hint to run the command that is running. */
export function withUsableHint(error: KeyturnError): KeyturnError {
  return withoutOwnHint(error, running.command)
}

/**
 * Prints an error on stderr and, with `--json`, on stdout. `beside` is the command's own answer, if it has one.
 */
export function reportError(error: unknown, json: boolean, beside: object = {}): KeyturnError {
  const reported = withUsableHint(asKeyturnError(error))
  printError(reported)
  if (json) printJson({ ...beside, error: reported.toJSON() })
  return reported
}

export function printError(error: KeyturnError): void {
  const { red, dim } = errorColours()
  note(`${red('error:')} ${error.message}`)
  if (error.hint !== undefined) note(`${dim('hint:')} ${error.hint}`)
}

export function exitCodeOf(error: KeyturnError): number {
  return error.exitCode
}

/** Any error as a KeyturnError. An unknown one is `internal`: a bug in Keyturn. */
export function asKeyturnError(error: unknown): KeyturnError {
  if (error instanceof KeyturnError) return error
  if (error instanceof CommanderError) return usageError(error)
  if (error instanceof Error && error.name === 'ExitPromptError') {
    return new KeyturnError('confirmation-needed', 'not confirmed: nothing was changed')
  }
  const system = asSystemError(error)
  if (system !== null) return system
  return new KeyturnError('internal', `unexpected: ${oneLine(reasonOf(error))}`, {
    hint: 'this is a fault of keyturn itself: please report it with the command that you typed',
    cause: error,
  })
}

/** Commander's message in Keyturn's form: lower case, one line, no full stop, the suggestion as the hint. */
function usageError(error: CommanderError): KeyturnError {
  if (error.code === 'commander.help') return new KeyturnError('usage', 'a command is missing')
  const [sentence = '', ...rest] = error.message.replace(/^error: /, '').split('\n')
  const suggestion = /\(Did you mean (.+)\?\)/.exec(rest.join(' '))?.[1]
  return new KeyturnError('usage', oneLine(sentence.replaceAll("'", '"')), {
    hint:
      suggestion === undefined
        ? 'keyturn --help lists the commands, keyturn COMMAND --help explains one'
        : `did you mean ${suggestion}?`,
  })
}

function oneLine(text: string): string {
  const line = (text.split('\n')[0] ?? '')
    .trim()
    .replace(/\.$/, '')
    .replaceAll('. Expected', ', expected')
  return line.replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase())
}
