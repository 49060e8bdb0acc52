import type { Command } from 'commander'
import { verifyFleet } from '../../client/verify.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { readinessText } from '../ui/present-readiness.ts'

export function register(program: Command): void {
  program
    .command('verify')
    .summary('prove that each process can use a version')
    .description(
      'Proves that each process of the fleet can use a version now: it opens the canary and wraps a nonce that another ' +
        'node opens. The version need not be current anywhere. Exit 3 where one cannot.',
    )
    .requiredOption('--target <n>', 'the version to prove', parse.version)
    .addHelpText('after', '\nExample: keyturn verify --target 2')
    .action(
      answering<{ target: number }>(async (context, { target }) => {
        const { report, error } = await verifyFleet(context.config(), target)
        return { json: report, text: readinessText(report), error }
      }),
    )
}
