import { Option, type Command } from 'commander'
import { checkAudit } from '../../client/audit/check.ts'
import { exportAudit, type ExportFormat } from '../../client/audit/export.ts'
import { auditHead } from '../../client/audit/head.ts'
import { readAudit, type AuditActor } from '../../client/audit/read.ts'
import { answering } from '../answer.ts'
import { plural } from '../ui/figures.ts'
import { note, printText } from '../ui/output.ts'
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
  registerList(audit)
  registerExport(audit)
  registerHead(audit)
  registerVerify(audit)
}

interface Filter {
  since?: Date
  action?: string
  subject?: string
  limit: number
}

function registerList(audit: Command): void {
  audit
    .command('list')
    .description('Lists the newest entries, the oldest of them first.')
    .option('--since <time>', 'from this time on, for example 2026-11-01 or 36h (ago)', parse.since)
    .option('--action <action>', 'only this action, for example version-destroyed')
    .option('--subject <subject>', 'only of this subject, for example v2 or a rotation')
    .option('--limit <n>', 'how many', parse.positive, 50)
    .addHelpText('after', '\nExample: keyturn audit list --since 30d --subject v2')
    .action(
      answering<Filter>(async (context, filter) => {
        const view = await readAudit(context.config(), filter)
        const rows = view.entries.map(({ sequence, at, actor, action, subject }) => [
          sequence ?? '-',
          at,
          shownActor(actor),
          action,
          subject,
        ])
        const text = table(['no', 'at', 'actor', 'action', 'subject'], rows)
        return { json: view, text: rows.length === 0 ? 'no entries' : text }
      }),
    )
}

function registerExport(audit: Command): void {
  audit
    .command('export')
    .description(
      'Prints the whole record, oldest first, a line for each entry: canonical JSON (RFC 8785) with its hash, or CEF for ' +
        'a SIEM.',
    )
    .addOption(
      new Option('--format <format>', 'of a line').choices(['jsonl', 'cef']).default('jsonl'),
    )
    .addHelpText('after', '\nExample: keyturn audit export --format cef > keyturn.cef')
    .action(
      answering<{ format: ExportFormat }>(async (context, { format }) => {
        await exportAudit(context.config(), format, printText)
        return null
      }),
    )
}

function registerHead(audit: Command): void {
  audit
    .command('head')
    .description(
      'Shows the hash of the last entry, signed with audit.signing_key. Kept elsewhere, it proves later that nothing before ' +
        'it was changed or cut off.',
    )
    .addHelpText('after', '\nExample: keyturn audit head --json >> /mnt/worm/keyturn-heads.jsonl')
    .action(
      answering(async (context) => {
        const head = await auditHead(context.config())
        if (head.signature === null)
          note('unsigned: audit.signing_key is not configured, or not there')
        const signature = head.signature === null ? [] : [`signature ${head.signature}`]
        const text = [
          `${plural(head.entries, 'entry', 'entries')}, head ${head.head}`,
          ...signature,
        ]
        return { json: head, text: text.join('\n') }
      }),
    )
}

interface Known {
  head?: string
  entries?: number
}

function registerVerify(audit: Command): void {
  audit
    .command('verify')
    .description(
      'Walks the chain from its first entry. Exit 5 where an entry was changed or is missing, and where the chain does not ' +
        'hold a head that was kept elsewhere.',
    )
    .option(
      '--head <hash>',
      'a head that the chain must hold; or a file of signed heads, one a line',
    )
    .option(
      '--entries <n>',
      'the place of that head; alone: the chain has at least as many',
      parse.positive,
    )
    .addHelpText('after', '\nExample: keyturn audit verify --head /mnt/worm/keyturn-heads.jsonl')
    .action(
      answering<Known>(async (context, known) => {
        const { verdict, error } = await checkAudit(context.config(), known)
        const text = verdict.ok ? `${plural(verdict.entries, 'entry', 'entries')}, unbroken` : ''
        return { json: verdict, text, error }
      }),
    )
}
