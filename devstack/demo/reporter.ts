import pc from 'picocolors'
import { KeyturnError } from '../../contracts/errors.ts'

/** Tells the story on stdout, a line at a time. */
export interface Reporter {
  /** A chapter's title. */
  readonly chapter: (title: string) => void
  readonly say: (line: string) => void
  /** A command as a person would type it. */
  readonly command: (words: readonly string[]) => void
  /** Something worth seeing from afar. */
  readonly alarm: (line: string) => void
}

export function reporter(write: (line: string) => void): Reporter {
  return {
    chapter: (title) => {
      write(pc.bold(title))
    },
    say: (line) => {
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

/** The demo ends here, and says which of its expectations failed. */
export function expectThat(condition: boolean, expectation: string, found: string): void {
  if (condition) return
  throw new KeyturnError('internal', `the demo expected ${expectation}, and found ${found}`, {
    hint: 'the logs of its processes are in the state folder named above',
  })
}
