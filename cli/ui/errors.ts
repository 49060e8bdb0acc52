import { CommanderError } from 'commander'
import { KeyturnError } from '../../contracts/errors.ts'
import { asSystemError, reasonOf } from '../../contracts/reasons.ts'
import { errorColours } from './colours.ts'
import { note, printJson } from './output.ts'
import { asSaidBy } from './own-hint.ts'

/** The command that runs in this process, with that of its parent: `quarantine list`. */
const running = { command: '' }

export function noteCommand(command: string): void {
  running.command = command
}

/** As the running command may say it: no hint sends a person to the command that has just said it. */
export function asSaidHere(error: KeyturnError): KeyturnError {
  return asSaidBy(error, running.command)
}

/**
 * Says what went wrong, to a person on stderr and, with `--json`, to a script on stdout. `beside` is the command's own
 * answer, when it got far enough to have one.
 */
export function reportError(error: unknown, json: boolean, beside: object = {}): KeyturnError {
  const reported = asSaidHere(asKeyturnError(error))
  sayError(reported)
  if (json) printJson({ ...beside, error: reported.toJSON() })
  return reported
}

export function sayError(error: KeyturnError): void {
  const { red, dim } = errorColours()
  note(`${red('error:')} ${error.message}`)
  if (error.hint !== undefined) note(`${dim('hint:')} ${error.hint}`)
}

export function exitCodeOf(error: KeyturnError): number {
  return error.exitCode
}

/** Every error as one of ours. What is not known by its class is a fault of Keyturn's own. */
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

/** Commander's sentence in the house's form: lower case, one line, no full stop, its suggestion as the hint. */
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
