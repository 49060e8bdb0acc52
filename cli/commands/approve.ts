import type { Command } from 'commander'
import { approve, type ApprovalBy } from '../../client/approvals/approve.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { answering } from '../answer.ts'
import { note } from '../ui/output.ts'
import { requestText } from '../ui/present-requests.ts'

interface Options {
  key?: string
  signature?: string
  name?: string
}

export function register(program: Command): void {
  program
    .command('approve <id>')
    .summary('approve a request with your key')
    .description(
      'Approves a request. With --key it shows the text, asks, and signs it with your Ed25519 key (PKCS#8 PEM, mode 0400 or ' +
        '0600). With --signature it adds a signature that was made elsewhere over exactly this text (requests show ID ' +
        '--out FILE). An approval counts for exactly these options, until the request expires.',
    )
    .option('--key <file>', 'your private key')
    .option('--signature <base64>', 'a signature that was made elsewhere')
    .option('--name <name>', 'the approver who made it')
    .addHelpText('after', '\nExample: keyturn approve q-2026-11-26-k3f9qab2cd --key alice.pem')
    .action(
      answering<Options>(async (context, options, [id = '']) => {
        const by = approvalBy(options)
        const view = await approve(context.config(), id, by, async (request) => {
          note(requestText(request))
          await context.confirm('approve this?')
        })
        const { approvedBy, required } = view
        const left = Math.max(0, required - approvedBy.length)
        const what = left === 0 ? 'it has enough' : `${left} more needed`
        const text = `request ${view.id}: approved by ${approvedBy.join(', ')}; ${what}`
        return { json: view, text }
      }),
    )
}

function approvalBy({ key, signature, name }: Options): ApprovalBy {
  if (key !== undefined && signature === undefined && name === undefined) return { keyFile: key }
  if (key === undefined && signature !== undefined && name !== undefined) return { signature, name }
  throw new KeyturnError('usage', 'give either --key, or --signature and --name', {
    hint: 'keyturn approve ID --key FILE, or --signature BASE64 --name NAME',
  })
}
