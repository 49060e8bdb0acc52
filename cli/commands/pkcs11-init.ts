import type { Command } from 'commander'
import { installKek } from '../../client/install.ts'
import { loadPkcs11Config } from '../../config/load-config.ts'
import { hasPinSource, readPin, type Pin } from '../../config/pin.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { probeFailure } from '../../providers/pkcs11/probe/failure.ts'
import { probeToken } from '../../providers/pkcs11/probe/probe.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { answering, type Answer, type Context } from '../answer.ts'
import { probeInterruptibly } from '../ui/interruptible-probe.ts'
import { note } from '../ui/output.ts'
import * as parse from '../ui/parse.ts'
import { askSecret, canAsk } from '../ui/prompts.ts'
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
        '--probe-only this process probes, needs neither MongoDB nor Temporal, and leaves nothing behind.',
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

/** Asks for the PIN: for a probe before a PIN is configured. An empty PIN is refused here, since a token counts it as a try. */
async function askPin({ token, pinEnv }: Pkcs11Config): Promise<Pin> {
  const [[how, name] = []] = Object.entries(token)
  const pin = await askSecret(`PIN of the token with ${how} "${name}":`)
  if (pin !== '') return { pin, warnings: [] }
  throw new KeyturnError('pin-missing', 'no PIN was typed', {
    hint: `set ${pinEnv}, or pin_file in keyturn.yaml`,
  })
}

async function probe({ file }: Context): Promise<Answer> {
  const { pkcs11: config } = loadPkcs11Config(file === undefined ? {} : { file })
  const { pin, warnings } =
    hasPinSource(config, process.env) || !canAsk()
      ? readPin(config, process.env)
      : await askPin(config)
  for (const warning of warnings) note(`warning: ${warning}`)
  const report = await probeInterruptibly((signal) => probeToken({ config, pin, signal }))
  return { json: report, text: probeText(report), error: probeFailure(report) }
}
