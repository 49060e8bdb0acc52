import type { Command } from 'commander'
import { installKek } from '../../client/rotations/install.ts'
import { loadPkcs11Config } from '../../config/load-config.ts'
import { readPin } from '../../config/pin.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { probeFailure, probeToken } from '../../providers/pkcs11/probe.ts'
import { answering, type Answer, type Context } from '../answer.ts'
import { untilInterrupted } from '../ui/detach.ts'
import { note } from '../ui/output.ts'
import * as parse from '../ui/parse.ts'
import { installText } from '../ui/present-install.ts'
import { probeText } from '../ui/present-probe.ts'

interface Options {
  version?: number
  probeOnly?: boolean
}

export function register(program: Command): void {
  program
    .command('pkcs11-init')
    .summary('probe the token, make and install a key in the HSM')
    .description(
      'Probes the token, generates the key of a version in the HSM and installs it, through a running worker. With ' +
        '--probe-only this very process probes, needs neither MongoDB nor Temporal, and leaves nothing behind.',
    )
    .option('--version <n>', 'number of the new version', parse.version)
    .option('--probe-only', 'only find out what the token can do')
    .addHelpText('after', '\nExample: keyturn pkcs11-init --version 2')
    .action(
      answering<Options>(async (context, { version, probeOnly }) => {
        if (probeOnly === true) return probe(context)
        if (version === undefined) {
          throw new KeyturnError('usage', 'required option "--version <n>" not specified', {
            hint: 'for example: keyturn pkcs11-init --version 1',
          })
        }
        const result = await installKek(context.config(), 'pkcs11', version)
        return { json: result, text: installText(result) }
      }),
    )
}

async function probe({ file }: Context): Promise<Answer> {
  const { pkcs11: config } = loadPkcs11Config(file === undefined ? {} : { file })
  const { pin, warnings } = readPin(config, process.env)
  for (const warning of warnings) note(`warning: ${warning}`)
  const report = await untilInterrupted((signal) => probeToken({ config, pin, signal }))
  return { json: report, text: probeText(report), error: probeFailure(report) }
}
