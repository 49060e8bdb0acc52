import type { Command } from 'commander'
import { readQuarantine } from '../../client/views/quarantine.ts'
import { answering } from '../answer.ts'
import { table } from '../ui/tables.ts'

export function register(program: Command): void {
  const quarantine = program
    .command('quarantine')
    .summary('envelopes that could not be opened')
    .description('Envelopes that could not be opened or written, and were stepped over.')
    .addHelpText('after', '\nExample: keyturn quarantine list --json')
  quarantine
    .command('list')
    .description(
      'Lists them with the reason, the rotation that met them last, and how often they were tried.',
    )
    .addHelpText('after', '\nExample: keyturn quarantine list')
    .action(
      answering(async (context) => {
        const view = await readQuarantine(context.config())
        const rows = view.envelopes.map(({ collection, id, field, kekVersion, code, rotation }) => [
          collection,
          typeof id === 'string' ? id : JSON.stringify(id),
          field,
          `v${kekVersion}`,
          code,
          rotation,
        ])
        const head = ['collection', 'id', 'field', 'version', 'code', 'rotation']
        const text = rows.length === 0 ? 'nothing is in quarantine' : table(head, rows)
        return { json: view, text }
      }),
    )
}
