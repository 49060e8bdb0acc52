import type { Command } from 'commander'
import { releaseQuarantine, type Selection } from '../../client/quarantine/release.ts'
import { retryQuarantine } from '../../client/quarantine/retry.ts'
import { scanQuarantine } from '../../client/quarantine/scan.ts'
import { readQuarantine } from '../../client/quarantine/list.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { answering } from '../answer.ts'
import { plural } from '../ui/figures.ts'
import { withFollower } from '../ui/follower.ts'
import { note } from '../ui/output.ts'
import { quarantineText } from '../ui/present-quarantine.ts'

export function register(program: Command): void {
  const quarantine = program
    .command('quarantine')
    .summary('envelopes that could not be opened')
    .description('Envelopes that could not be opened or written, and were stepped over.')
    .addHelpText('after', '\nExample: keyturn quarantine list --json')
  registerList(quarantine)
  registerScan(quarantine)
  registerRetry(quarantine)
  registerRelease(quarantine)
}

function registerList(quarantine: Command): void {
  quarantine
    .command('list')
    .description(
      'Lists them with the reason, the rotation that met them last, and how often they were tried.',
    )
    .addHelpText('after', '\nExample: keyturn quarantine list')
    .action(
      answering(async (context) => {
        const view = await readQuarantine(context.config())
        return { json: view, text: quarantineText(view.envelopes) }
      }),
    )
}

function registerScan(quarantine: Command): void {
  quarantine
    .command('scan')
    .description(
      'Looks for odd envelopes (without a readable version, or with a missing part) and puts them into quarantine; clears ' +
        'the rows of envelopes that were repaired or deleted. Needs no key and no worker. Exit 6 where one is odd.',
    )
    .addHelpText('after', '\nExample: keyturn quarantine scan --json')
    .action(
      answering(async (context) => {
        const view = await scanQuarantine(context.config())
        const error =
          view.odd === 0
            ? null
            : new KeyturnError('quarantined', `${plural(view.odd, 'odd envelope')} in quarantine`, {
                hint: 'keyturn quarantine list names each: repair it, or restore it from a backup',
              })
        const text =
          `${plural(view.odd, 'odd envelope')} found, ${view.quarantined} new in quarantine, ` +
          `${view.cleared} left it`
        return { json: view, text, error }
      }),
    )
}

function registerRetry(quarantine: Command): void {
  quarantine
    .command('retry')
    .description(
      'Re-wraps what opens now, by a rotation to the active version that meets nothing else. Rows of envelopes that ' +
        'were repaired or deleted go. Exit 6 while others remain.',
    )
    .addHelpText('after', '\nExample: keyturn quarantine retry')
    .action(
      answering(async (context) => {
        const config = context.config()
        const { view, error } = await withFollower([], (follower) =>
          retryQuarantine(config, follower),
        )
        const text = `${plural(view.before - view.remaining, 'envelope')} left quarantine, ${view.remaining} remain`
        return { json: view, text, error }
      }),
    )
}

function registerRelease(quarantine: Command): void {
  quarantine
    .command('release')
    .description(
      'Forgets rows and leaves their envelopes as they are: they count again, and the next rotation meets them again. ' +
        'Asks for confirmation.',
    )
    .option('--collection <name>', 'of this collection')
    .option('--field <path>', 'of this field')
    .option('--id <id>', 'of this record, as quarantine list --json shows it')
    .option('--all', 'every row')
    .addHelpText('after', '\nExample: keyturn quarantine release --collection users --id u-17')
    .action(
      answering<Selection & { all?: boolean }>(async (context, { all = false, ...selection }) => {
        if (!all && Object.keys(selection).length === 0) {
          throw new KeyturnError('usage', 'which envelopes to release is missing', {
            hint: 'name them with --collection, --field and --id, or use --all',
          })
        }
        const view = await releaseQuarantine(context.config(), selection, async (envelopes) => {
          note(quarantineText(envelopes))
          await context.confirm(`release ${plural(envelopes.length, 'envelope')}?`)
        })
        return { json: view, text: `${plural(view.released.length, 'envelope')} released` }
      }),
    )
}
