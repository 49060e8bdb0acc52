import { CommanderError } from 'commander'
import type { KeyturnError } from '../contracts/errors.ts'
import { reportLongWaits } from '../observability/awaiting.ts'
import { buildProgram } from './program.ts'
import { withoutHelpOfUnknown, withoutKek } from './words.ts'
import { exitCodeOf, noteCommand, reportError } from './ui/errors.ts'
import { note, surviveClosedPipes } from './ui/output.ts'

/** The longest delay of a timer in Node.js. */
const maxDelayMs = 2 ** 31 - 1

/**
 * Runs one command line to its end and returns the exit code. An error is printed as `error:` and `hint:` on stderr, and
 * with --json as `{"error":{…}}` on stdout. Stack traces are never printed.
 */
export async function run(argv: string[]): Promise<number> {
  surviveClosedPipes()
  noteCommand('')
  const json = wantsJson(argv)
  const die = (error: unknown) => process.exit(exitCodeOf(reportError(error, json)))
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  // Keeps the process alive while a command waits only for an unref'd child process.
  const awake = setInterval(() => undefined, maxDelayMs)
  // A worker writes long waits to its log.
  const quiet = argv.includes('worker')
    ? () => undefined
    : reportLongWaits((what) => note(`waits for ${what}`))
  try {
    const words = withoutKek(versionAsCommand(argv))
    const program = await buildProgram(words)
    await program.parseAsync(withoutHelpOfUnknown(program, words), { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    const reported: KeyturnError = reportError(error, json)
    return exitCodeOf(reported)
  } finally {
    clearInterval(awake)
    quiet()
  }
}

/** `keyturn --version` is `keyturn version`; anywhere else `--version` belongs to the command (`pkcs11-init --version 2`). */
function versionAsCommand(argv: string[]): string[] {
  return argv[0] === '--version' || argv[0] === '-V' ? ['version', ...argv.slice(1)] : argv
}

function wantsJson(argv: string[]): boolean {
  const end = argv.indexOf('--')
  return (end === -1 ? argv : argv.slice(0, end)).includes('--json')
}
