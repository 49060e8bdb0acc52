import { CommanderError } from 'commander'
import type { KeyturnError } from '../contracts/errors.ts'
import { tellLongWaits } from '../observability/awaiting.ts'
import { buildProgram } from './program.ts'
import { unexplained, withoutKek } from './words.ts'
import { exitCodeOf, noteCommand, reportError } from './ui/errors.ts'
import { note, surviveClosedPipes } from './ui/output.ts'

/** The longest delay of a timer in Node.js. */
const maxDelayMs = 2 ** 31 - 1

/**
 * Runs one command line to its end and answers with the exit code. Whatever happens, a person reads `error:` and `hint:`
 * on stderr, a script `{"error":{…}}` on stdout, and nobody a stack trace.
 */
export async function run(argv: string[]): Promise<number> {
  surviveClosedPipes()
  noteCommand('')
  const json = wantsJson(argv)
  const die = (error: unknown) => process.exit(exitCodeOf(reportError(error, json)))
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  // A command that waits only for a child process that nobody refers to would end in the middle.
  const awake = setInterval(() => undefined, maxDelayMs)
  // A worker's log tells it itself.
  const quiet = argv.includes('worker')
    ? () => undefined
    : tellLongWaits((what) => note(`waits for ${what}`))
  try {
    const words = withoutKek(versionAsCommand(argv))
    const program = await buildProgram(words)
    await program.parseAsync(unexplained(program, words), { from: 'user' })
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
