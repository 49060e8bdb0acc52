import { KeyturnError } from '../../contracts/errors.ts'

/** Between two pieces of advice in one hint. */
const between = /; |, and |, then (?:again: )?|, or(?=[: ])/

/**
 * A hint without the advice to run the very command that says it: `doctor` does not send to `keyturn doctor`, nor `setup`
 * to `keyturn setup`. The same command with other arguments stays. Null where nothing else is left.
 */
export function withoutItself(hint: string, command: string): string | null {
  const itself = new RegExp(`\\bkeyturn ${command}(?! *(?:-|[A-Z0-9]))\\b`)
  if (command === '' || !itself.test(hint)) return hint
  const rest = hint
    .split(between)
    .filter((advice) => !itself.test(advice))
    .map((advice) => advice.replace(/^[: ]+/, ''))
  return rest.length === 0 ? null : rest.join('; ')
}

/** The error as `command` may say it. */
export function asSaidBy(error: KeyturnError, command: string): KeyturnError {
  if (error.hint === undefined) return error
  const hint = withoutItself(error.hint, command) ?? lookedUp
  return hint === error.hint
    ? error
    : new KeyturnError(error.code, error.message, { hint, cause: error.cause })
}

/** Where all codes are told. */
export const lookedUp = 'docs/troubleshooting.md tells of each code'
