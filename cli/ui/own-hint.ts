import { KeyturnError } from '../../contracts/errors.ts'

/** Separates the parts of a hint. */
const between = /; |, and |, then (?:again: )?|, or(?=[: ])/

/**
 * A hint without the part that names the running command: `doctor` does not refer to `keyturn doctor`, nor `setup` to
 * `keyturn setup`. The same command with other arguments stays. Null where nothing is left.
 */
export function withoutItself(hint: string, command: string): string | null {
  const itself = new RegExp(`\\bkeyturn ${command}(?! *(?:-|[A-Z0-9]))\\b`)
  if (command === '' || !itself.test(hint)) return hint
  const rest = hint
    .split(between)
    .filter((part) => !itself.test(part))
    .map((part) => part.replace(/^[: ]+/, ''))
  return rest.length === 0 ? null : rest.join('; ')
}

/** The error for output by `command`: its hint does not name that command. */
export function withoutOwnHint(error: KeyturnError, command: string): KeyturnError {
  if (error.hint === undefined) return error
  const hint = withoutItself(error.hint, command) ?? fallbackHint
  return hint === error.hint
    ? error
    : new KeyturnError(error.code, error.message, { hint, cause: error.cause })
}

/** The hint where no other one is left. */
export const fallbackHint = 'docs/troubleshooting.md tells of each code'
