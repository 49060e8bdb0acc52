import type { Command } from 'commander'
import { installKek } from '../../client/install.ts'
import { answering } from '../answer.ts'
import * as parse from '../ui/parse.ts'
import { installText } from '../ui/present-install.ts'

export function register(program: Command): void {
  program
    .command('env-init')
    .summary('install a key from the environment')
    .description(
      'Installs a key that stands in an environment variable (64 hex characters) of every worker. A running worker does ' +
        'it; the first version becomes active. Repeating a finished one changes nothing.',
    )
    .requiredOption('--version <n>', 'number of the new version', parse.version)
    .addHelpText(
      'after',
      '\nExample: set KEYTURN_ENCRYPTION_ENV_KEK_V2 on every host, restart the workers, then: keyturn env-init --version 2',
    )
    .action(
      answering<{ version: number }>(async (context, options) => {
        const result = await installKek(context.config(), 'env', options.version)
        return { json: result, text: installText(result) }
      }),
    )
}
