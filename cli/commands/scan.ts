import type { Command } from 'commander'
import type { Keystore } from '../../client/keystore.ts'
import { loadableKeks, openingView } from '../../client/views/opening.ts'
import { scan } from '../../client/views/scan.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { scanUnwrap } from '../../sweep/open-census.ts'
import { answering } from '../answer.ts'
import { untilInterrupted } from '../ui/detach.ts'
import { withLocalProvider } from '../local-provider.ts'
import { scanText } from '../ui/present-scan.ts'

export function register(program: Command): void {
  program
    .command('scan')
    .summary('count all envelopes, or open each of them')
    .description(
      'Counts all envelopes by version. With --unwrap it opens the wrapped data key of each one, with the keys of this ' +
        'host, and proves it; nothing is written. Exit 6 where one does not open.',
    )
    .option('--unwrap', 'open each wrapped data key')
    .addHelpText('after', '\nExample: keyturn scan --unwrap --json | jq .failed')
    .action(
      answering<{ unwrap?: boolean }>(async (context, { unwrap }) => {
        const config = context.config()
        const view = await scan(config, unwrap === true ? openAll(config) : null)
        const failures = view.failed.length
        const error =
          failures === 0
            ? null
            : new KeyturnError('envelope-unreadable', `${failures} envelopes could not be opened`, {
                hint: 'each is listed with its reason; restore it from a backup',
              })
        return { json: view, text: scanText(view), error }
      }),
    )
}

function openAll(config: Config) {
  return (keystore: Keystore) =>
    withLocalProvider(config, async (provider) => {
      for (const kek of await loadableKeks(keystore)) await provider.load(kek)
      const census = await untilInterrupted((signal) =>
        scanUnwrap({
          store: keystore.store,
          provider,
          install: config.install,
          collections: keystore.settings.collections,
          onProgress: () => undefined,
          signal,
        }),
      )
      return openingView(keystore, census)
    })
}
