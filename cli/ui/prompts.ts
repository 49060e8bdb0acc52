import { confirm, input, password } from '@inquirer/prompts'
import { KeyturnError } from '../../contracts/errors.ts'

/**
 * Asks for confirmation. Returns when the answer is yes or `--yes` was given. Without a terminal it throws
 * confirmation-needed; nothing has been changed then.
 */
export async function confirmed(question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!canAsk()) {
    throw new KeyturnError('confirmation-needed', `there is no terminal to ask on: ${question}`, {
      hint: 'answer it beforehand with --yes',
    })
  }
  const answer = await confirm({ message: question, default: false }, { output: process.stderr })
  if (!answer) {
    throw new KeyturnError('confirmation-needed', 'not confirmed: nothing was changed')
  }
}

/** Asks the person to type a name. `--yes` does not answer this; `given` is the value of `--confirm`, if any. */
export async function namedConfirmed(
  what: string,
  name: string,
  given: string | undefined,
): Promise<void> {
  if (given === undefined && !canAsk()) {
    throw new KeyturnError('confirmation-needed', `there is no terminal to ask on: ${what}`, {
      hint: `answer it beforehand with --confirm ${name}`,
    })
  }
  const typed =
    given ?? (await input({ message: `${what}; type "${name}"` }, { output: process.stderr }))
  if (typed === name) return
  throw new KeyturnError('confirmation-needed', `"${typed}" is not "${name}": nothing was changed`)
}

/** Whether stdin and stderr are a terminal. */
export function canAsk(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY
}

/** A secret, typed without an echo; empty when the question was left by Ctrl-C. */
export async function askSecret(question: string): Promise<string> {
  try {
    return await password({ message: question }, { output: process.stderr })
  } catch (error) {
    if (error instanceof Error && error.name === 'ExitPromptError') return ''
    throw error
  }
}
