import type { Command } from 'commander'
import { readReport } from '../../client/views/report.ts'
import { answering } from '../answer.ts'
import { note } from '../ui/output.ts'
import { reportText } from '../ui/present-report.ts'
import { reportPage } from '../ui/report-page/page.ts'
import { writeWhole } from '../written-file.ts'

interface Options {
  html?: string
}

export function register(program: Command): void {
  program
    .command('report')
    .summary('one rotation: what was planned, done and recorded')
    .description(
      'Shows a rotation from its record in MongoDB: plan and result, phases, envelopes before and after, quarantine, fleet, ' +
        'keys, who did what, and the head of the audit. It needs neither Temporal nor a worker, and works for a running, failed ' +
        'or cancelled rotation, too.',
    )
    .argument('<rotation>', 'its id, as rotate and status name it')
    .option('--html <file>', 'also write it as one HTML page; an existing file is replaced')
    .addHelpText('after', '\nExample: keyturn report r-2026-11-21-udqhxr --html rotation-2026.html')
    .action(
      answering<Options>(async (context, { html }, [rotation = '']) => {
        const view = await readReport(context.config(), rotation)
        if (html !== undefined) {
          await writeWhole(html, reportPage(view))
          note(`the report is in "${html}"`)
        }
        return { json: view, text: reportText(view) }
      }),
    )
}
