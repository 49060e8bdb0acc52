import pc from 'picocolors'
import { KeyturnError } from '../../contracts/errors.ts'

/** Prints the demo's steps, a line at a time. */
export interface Reporter {
  /** The title of a part of the demo. */
  readonly chapter: (title: string) => void
  readonly print: (line: string) => void
  /** A command as a person would type it. */
  readonly command: (words: readonly string[]) => void
  /** A line in red. */
  readonly alarm: (line: string) => void
}

export function createReporter(write: (line: string) => void): Reporter {
  return {
    chapter: (title) => {
      write(pc.bold(title))
    },
    print: (line) => {
      write(`  ${line}`)
    },
    command: (words) => {
      write(`  ${pc.cyan(`$ keyturn ${words.join(' ')}`)}`)
    },
    alarm: (line) => {
      write(`  ${pc.red(line)}`)
    },
  }
}

/** Ends the demo with an error if the condition does not hold. */
export function expectThat(condition: boolean, expectation: string, found: string): void {
  if (condition) return
  throw new KeyturnError('internal', `the demo expected ${expectation}, and found ${found}`, {
    hint: 'the logs of its processes are in the state folder named above',
  })
}
