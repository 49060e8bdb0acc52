import type { Command } from 'commander'
import { checkAudit, readAudit, type AuditActor } from '../../client/views/audit.ts'
import { answering } from '../answer.ts'
import { plural } from '../ui/figures.ts'
import * as parse from '../ui/parse.ts'
import { table } from '../ui/tables.ts'

/** As it is in the record. */
function shownActor({ user, host }: AuditActor): string {
  return host === null ? user : `${user}@${host}`
}

export function register(program: Command): void {
  const audit = program
    .command('audit')
    .summary('the hash-chained record')
    .description(
      'The record of everything that was done, each entry chained to the one before by its hash.',
    )
    .addHelpText('after', '\nExample: keyturn audit verify')
  audit
    .command('list')
    .description('Lists the newest entries, the oldest of them first.')
    .option('--limit <n>', 'how many', parse.positive, 50)
    .addHelpText('after', '\nExample: keyturn audit list --limit 10')
    .action(
      answering<{ limit: number }>(async (context, { limit }) => {
        const view = await readAudit(context.config(), limit)
        const rows = view.entries.map(({ sequence, at, actor, action, subject }) => [
          sequence ?? '-',
          at,
          shownActor(actor),
          action,
          subject,
        ])
        const text = table(['no', 'at', 'actor', 'action', 'subject'], rows)
        return { json: view, text: rows.length === 0 ? 'nothing is recorded yet' : text }
      }),
    )
  audit
    .command('verify')
    .description(
      'Walks the chain from its first entry. Exit 5 where an entry was changed or is missing.',
    )
    .addHelpText('after', '\nExample: keyturn audit verify --json')
    .action(
      answering(async (context) => {
        const { verdict, error } = await checkAudit(context.config())
        const text = verdict.ok ? `${plural(verdict.entries, 'entry', 'entries')}, unbroken` : ''
        return { json: verdict, text, error }
      }),
    )
}
