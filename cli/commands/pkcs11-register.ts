import type { Command } from 'commander'
import { installKek } from '../../client/install.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { installText } from '../ui/present-install.ts'

interface Options {
  version: number
  label?: string
  id?: string
}

export function register(program: Command): void {
  program
    .command('pkcs11-register')
    .summary('install a key that an administrator made in the HSM')
    .description(
      'Installs a key that is in the HSM already, through a running worker: finds it by its exact label, verifies its ' +
        'attributes, and proves by a round trip and tampered copies that it can be used. Never changes anything in the HSM.',
    )
    .requiredOption('--version <n>', 'number of the new version', parse.version)
    .option('--label <text>', 'label of the key; else <key_label_prefix>-v<n>', parse.label)
    .option('--id <hex>', 'its CKA_ID, where several keys have that label', parse.keyId)
    .addHelpText(
      'after',
      '\nExample: keyturn pkcs11-register --version 2 --label payments-2027 --id 02',
    )
    .action(
      answering<Options>(async (context, { version, label = null, id = null }) => {
        const key = { label, keyId: id }
        const result = await installKek(context.config(), 'pkcs11', version, key)
        return { json: result, text: installText(result) }
      }),
    )
}
