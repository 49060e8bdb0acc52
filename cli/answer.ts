import type { Command } from 'commander'
import { ApprovalMissing } from '../contracts/approvals.ts'
import type { KeyturnError } from '../contracts/errors.ts'
import { addressWarnings } from '../client/address-warnings.ts'
import { forgetCopied, isKnownCopied } from '../client/copied-keystores.ts'
import { loadConfig } from '../config/load-config.ts'
import type { Config } from '../contracts/settings.ts'
import { noColours } from './ui/colours.ts'
import { withUsableHint, noteCommand, printError } from './ui/errors.ts'
import { note, printJson, printText } from './ui/output.ts'
import { requestText } from './ui/present-requests.ts'
import { confirmed } from './ui/prompts.ts'

/** What a command answers: JSON for scripts, text for people, and an error if it did not fully succeed. */
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
  /** Whether the keystore that was read is not where it was recorded. */
  isCopied(): boolean
  /** Call it after the keystore was declared moved, copied or restored. */
  forgetCopied(): void
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
    noteCommand(nameOf(this))
    const context = contextOf(this)
    const answer = await body(context, this.opts<Options>(), this.args).catch(asMissing)
    if (answer === null) return
    printAnswer(context.isCopied() ? asCopied(answer) : answer, context.json)
  }
}

/** The answer of a command that lacks approvals: the request. Throws any other error again. */
function asMissing(error: unknown): Answer {
  if (!(error instanceof ApprovalMissing)) throw error
  const { request } = error
  return { json: { request }, text: requestText(request), error }
}

/** The command as typed after `keyturn`. */
function nameOf(command: Command): string {
  const { parent } = command
  return parent?.parent ? `${nameOf(parent)} ${command.name()}` : command.name()
}

/** Marks an answer that was read from a copied keystore, and prints a warning. */
function asCopied(answer: Answer): Answer {
  note(
    'warning: this keystore is a copy, or was moved or restored: keyturn setup --help says what to do',
  )
  return { ...answer, json: { ...answer.json, copied: true } }
}

/** Prints an answer and sets the exit code that belongs to it. */
function printAnswer(answer: Answer, json: boolean): void {
  const error = answer.error ? withUsableHint(answer.error) : null
  if (json) printJson(error === null ? answer.json : { ...answer.json, error: error.toJSON() })
  else printText(answer.text)
  if (error === null) return
  printError(error)
  process.exitCode = error.exitCode
}

/** These report the options of the address that do not count by themselves: in the log, and as a check. */
const reportThemselves: readonly string[] = ['worker', 'doctor']

/** The configuration, after a warning for each option of MongoDB's address that does not count as written. */
function loaded(file: string | undefined, command: string): Config {
  const config = loadConfig(file === undefined ? {} : { file })
  if (!reportThemselves.includes(command)) {
    for (const text of addressWarnings(config)) note(`warning: ${text}`)
  }
  return config
}

export function contextOf(command: Command): Context {
  const global = command.optsWithGlobals<GlobalOptions>()
  if (!global.color) noColours()
  const file = global.config
  const yes = global.yes ?? false
  let config: Config | null = null
  return {
    json: global.json ?? false,
    yes,
    file,
    config: () => (config ??= loaded(file, command.name())),
    isCopied: () => config !== null && isKnownCopied(config),
    forgetCopied: () => {
      if (config !== null) forgetCopied(config)
    },
    confirm: (question) => confirmed(question, yes),
  }
}
