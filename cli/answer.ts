import type { Command } from 'commander'
import type { KeyturnError } from '../contracts/errors.ts'
import { loadConfig } from '../config/load-config.ts'
import type { Config } from '../contracts/settings.ts'
import { noColours } from './ui/colours.ts'
import { sayError } from './ui/errors.ts'
import { printJson, printText } from './ui/output.ts'
import { confirmed } from './ui/prompts.ts'

/** What a command found: for a script, for a person, and, when it is not a plain success, the error beside it. */
export interface Answer {
  json: object
  text: string
  error?: KeyturnError | null
}

/** What every command is given. */
export interface Context {
  readonly json: boolean
  readonly yes: boolean
  /** Path given with `--config`, if any. */
  readonly file: string | undefined
  config(): Config
  confirm(question: string): Promise<void>
}

interface GlobalOptions {
  config?: string
  json?: boolean
  yes?: boolean
  color: boolean
}

/** Wraps a command's body for commander: global options in, one answer out, exit code set. */
// Names the shape that commander's untyped options have.
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
export function answering<Options extends object>(
  body: (context: Context, options: Options, args: string[]) => Promise<Answer | null>,
): (this: Command) => Promise<void> {
  return async function (this: Command) {
    const context = contextOf(this)
    const answer = await body(context, this.opts<Options>(), this.args)
    if (answer === null) return
    give(answer, context.json)
  }
}

/** Prints an answer and sets the exit code that belongs to it. */
function give(answer: Answer, json: boolean): void {
  const error = answer.error ?? null
  if (json) printJson(error === null ? answer.json : { ...answer.json, error: error.toJSON() })
  else printText(answer.text)
  if (error === null) return
  sayError(error)
  process.exitCode = error.exitCode
}

export function contextOf(command: Command): Context {
  const global = command.optsWithGlobals<GlobalOptions>()
  if (!global.color) noColours()
  const file = global.config
  const yes = global.yes ?? false
  return {
    json: global.json ?? false,
    yes,
    file,
    config: () => loadConfig(file === undefined ? {} : { file }),
    confirm: (question) => confirmed(question, yes),
  }
}
