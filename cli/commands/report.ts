import type { Command } from 'commander'
import { readReport } from '../../client/views/report.ts'
import { answering } from '../answer.ts'
import { reportText } from '../ui/present-report.ts'

export function register(program: Command): void {
  program
    .command('report')
    .summary('one rotation: plan and truth side by side')
    .description(
      'Shows the plan, the result and the duration of each phase of a rotation, from the record in MongoDB. ' +
        'It works for a running rotation, too.',
    )
    .argument('<rotation>', 'its id, as rotate and status name it')
    .addHelpText('after', '\nExample: keyturn report r-0b7e6f52-6f0e-4a52-9a55-0f8f8b5d7f11')
    .action(
      answering(async (context, _options, [rotation = '']) => {
        const view = await readReport(context.config(), rotation)
        return { json: view, text: reportText(view) }
      }),
    )
}
