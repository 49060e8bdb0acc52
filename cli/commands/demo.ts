import { Option } from 'commander'
import type { Command } from 'commander'
import type { ProviderName } from '../../contracts/kek.ts'
import { answering } from '../answer.ts'
import { printText } from '../ui/output.ts'
import { positive } from '../ui/parse.ts'

interface Options {
  records: number
  provider: ProviderName
  keep?: boolean
}

export function register(program: Command): void {
  program
    .command('demo')
    .summary('watch a rotation survive a killed worker')
    .description(
      'Runs a rotation on an embedded stack: two workers on one token, secrets, an application that reads and writes all the time, a worker killed in the middle of the rotation, and every secret compared at the end.',
    )
    .option('--records <number>', 'how many secrets', positive, 20_000)
    .addOption(
      new Option('--provider <name>', 'where keys are')
        .choices(['pkcs11', 'env'])
        .default('pkcs11'),
    )
    .option('--keep', 'leave the servers running at the end, until Ctrl-C')
    .addHelpText('after', '\nExample: keyturn demo --records 50000 --provider env')
    .action(
      answering<Options>(async (_context, { records, provider, keep }) => {
        const { runDemo } = await import('../../devstack/demo/run-demo.ts')
        const { interruption } = await import('../../devstack/interruption.ts')
        const signal = interruption('the demo')
        await runDemo({ records, provider, keep: keep ?? false, signal, write: printText })
        return null
      }),
    )
}
