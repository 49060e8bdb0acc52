import { writeFileSync } from 'node:fs'
import type { Command } from 'commander'
import { readRequests, showRequest, withdrawRequest } from '../../client/approvals/requests.ts'
import { answering } from '../answer.ts'
import { note } from '../ui/output.ts'
import { requestsText, requestText } from '../ui/present-requests.ts'

export function register(program: Command): void {
  const requests = program
    .command('requests')
    .summary('requests for approvals')
    .description(
      'Requests for approvals. A command that lacks approvals opens one; once it has enough, the same command uses it.',
    )
    .addHelpText('after', '\nExample: keyturn requests list --json')
  requests
    .command('list', { isDefault: true })
    .description('Lists the open requests, the newest first.')
    .option('--all', 'also those that are used, withdrawn or expired')
    .addHelpText('after', '\nExample: keyturn requests list --all')
    .action(
      answering<{ all?: boolean }>(async (context, { all = false }) => {
        const view = await readRequests(context.config(), { all })
        return { json: view, text: requestsText(view.requests) }
      }),
    )
  requests
    .command('show <id>')
    .description('Shows a request and the text that approvers sign.')
    .option(
      '--out <file>',
      'write exactly the bytes of the text to this file, to sign it elsewhere',
    )
    .addHelpText('after', '\nExample: keyturn requests show q-2026-11-26-k3f9qab2cd --out text')
    .action(
      answering<{ out?: string }>(async (context, { out }, [id = '']) => {
        const view = await showRequest(context.config(), id)
        if (out !== undefined) {
          writeFileSync(out, view.text)
          note(`the text is in "${out}"`)
        }
        return { json: view, text: requestText(view) }
      }),
    )
  requests
    .command('withdraw <id>')
    .description('Withdraws an open request: its approvals are worth nothing from then on.')
    .addHelpText('after', '\nExample: keyturn requests withdraw q-2026-11-26-k3f9qab2cd')
    .action(
      answering(async (context, _, [id = '']) => {
        const view = await withdrawRequest(context.config(), id)
        return { json: view, text: `request ${view.id} is withdrawn` }
      }),
    )
}
