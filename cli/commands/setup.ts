import type { Command } from 'commander'
import { setup, type SetupReport } from '../../client/setup.ts'
import { answering } from '../answer.ts'
import { note } from '../ui/output.ts'

export function register(program: Command): void {
  program
    .command('setup')
    .summary('prepare MongoDB and Temporal; safe to repeat')
    .description(
      'Prepares MongoDB and Temporal: indexes, search attributes, and the collections, timings and removal rules that ' +
        'count for the whole fleet. Safe to repeat; before it changes a recorded setting it shows the difference and asks.',
    )
    .addHelpText('after', '\nExample: keyturn setup --config /etc/keyturn/keyturn.yaml')
    .action(
      answering(async (context) => {
        const report = await setup(context.config(), async (changes) => {
          note('recorded settings that would change for the whole fleet:')
          for (const change of changes) note(`  ${change}`)
          await context.confirm('change them?')
        })
        return { json: report, text: textOf(report) }
      }),
    )
}

function textOf({ install, database, settings, searchAttributes }: SetupReport): string {
  const attributes =
    searchAttributes.length === 0
      ? 'search attributes are registered'
      : `search attributes registered: ${searchAttributes.join(', ')}`
  return [
    `install "${install}" in database "${database}": settings ${settings}`,
    'indexes are there',
    attributes,
  ].join('\n')
}
