import { Option } from 'commander'
import type { Command } from 'commander'
import type { ProviderName } from '../../contracts/kek.ts'
import type { DevAddresses } from '../../devstack/run-dev.ts'
import { answering } from '../answer.ts'
import { note, printJson, printText } from '../ui/output.ts'
import { limit, positive } from '../ui/parse.ts'

interface Options {
  data: string
  nodes: number
  provider: ProviderName
  records: number
}

export function register(program: Command): void {
  program
    .command('dev')
    .summary('run the whole stack on this machine')
    .description(
      'Starts Temporal with its web UI, MongoDB as a replica set, a SoftHSM2 token and workers, all on this machine, and keeps them running until Ctrl-C. The data folder is kept and used again by the next start.',
    )
    .option('--data <dir>', 'where everything is kept', '.keyturn/dev')
    .option('--nodes <number>', 'how many workers, each as a node of its own', positive, 2)
    .option('--records <number>', 'secrets that it seals, to have something to rotate', limit, 0)
    .addOption(
      new Option('--provider <name>', 'where keys are')
        .choices(['pkcs11', 'env'])
        .default('pkcs11'),
    )
    .addHelpText('after', '\nExample: keyturn dev --data ~/keyturn-dev --nodes 3 --records 10000')
    .action(
      answering<Options>(async ({ json }, options) => {
        const { runDev } = await import('../../devstack/run-dev.ts')
        const { interruption } = await import('../../devstack/interruption.ts')
        const signal = interruption('the stack')
        await runDev({ ...options, signal, print: note }, (addresses) => {
          if (json) printJson(addresses)
          else printText(present(addresses))
        })
        return null
      }),
    )
}

function present({ mongodb, temporal, temporalUi, env, workers }: DevAddresses): string {
  return [
    `MongoDB      ${mongodb}`,
    `Temporal     ${temporal}`,
    `Temporal UI  ${temporalUi ?? 'on your own server'}`,
    ...workers.map(({ node, pid, log }) => `worker       ${node}, pid ${pid}, ${log}`),
    '',
    'In another terminal:',
    `  . ${env}`,
    '  keyturn status',
    '',
    'Ctrl-C ends it; the data stays.',
  ].join('\n')
}
