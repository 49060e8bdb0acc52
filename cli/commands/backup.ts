import type { Command } from 'commander'
import { dropMarkedBackup, listBackups, markNewBackup } from '../../client/backups.ts'
import { answering } from '../answer.ts'
import { note } from '../ui/output.ts'
import * as parse from '../ui/parse.ts'
import { backupsText } from '../ui/present-backups.ts'

interface MarkOptions {
  takenAt?: Date
  keepUntil?: Date
}

export function register(program: Command): void {
  const backup = program
    .command('backup')
    .summary('backups that need a version')
    .description(
      'Backups of the database that are kept. A version that one of them needs is not removed.',
    ) // prettier-ignore
    .addHelpText('after', '\nExample: keyturn backup mark nightly-2026-03-01')
  backup
    .command('mark')
    .description('Says that a backup was taken, and until when it is kept.')
    .argument('<name>', 'its name')
    .option('--taken-at <time>', 'when it began; default now', parse.moment)
    .option('--keep-until <time>', 'default: until it is dropped', parse.moment)
    .addHelpText(
      'after',
      '\nExample: keyturn backup mark nightly --taken-at 2026-03-01T03:00:00Z --keep-until 2026-06-01T00:00:00Z',
    )
    .action(
      answering<MarkOptions>(async (context, options, [text = '']) => {
        const name = parse.backupName(text)
        const { takenAt = null, keepUntil = null } = options
        const marked = await markNewBackup(context.config(), { name, takenAt, keepUntil })
        for (const version of marked.destroyed) {
          note(`warning: version ${version} is destroyed: envelopes of it in this backup never open`) // prettier-ignore
        }
        return { json: marked.backup, text: backupsText([marked.backup]) }
      }),
    )
  backup
    .command('list')
    .description('Lists them with the versions that each needs.')
    .addHelpText('after', '\nExample: keyturn backup list --json')
    .action(
      answering(async (context) => {
        const view = await listBackups(context.config())
        return { json: view, text: backupsText(view.backups) }
      }),
    )
  backup
    .command('drop')
    .description('Forgets a backup that was deleted. Asks for confirmation.')
    .argument('<name>', 'its name')
    .addHelpText('after', '\nExample: keyturn backup drop nightly')
    .action(
      answering(async (context, _options, [name = '']) => {
        const view = await dropMarkedBackup(context.config(), name, async ({ versions }) => {
          const needed = versions.length === 0 ? 'no version' : `version ${versions.join(', ')}`
          await context.confirm(`forget backup "${name}", which needs ${needed}?`)
        })
        return { json: view, text: `backup "${name}" no longer keeps a version` }
      }),
    )
}
