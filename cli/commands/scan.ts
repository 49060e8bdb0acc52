import type { Command } from 'commander'
import type { Keystore } from '../../client/keystore.ts'
import { loadableKeks, openingView } from '../../client/views/opening.ts'
import { scan } from '../../client/views/scan.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { CollectionConfig, Config } from '../../contracts/settings.ts'
import type { ScanView } from '../../contracts/views.ts'
import { scanUnwrap } from '../../sweep/scan-unwrap.ts'
import { answering } from '../answer.ts'
import { untilInterrupted } from '../ui/detach.ts'
import { withLocalProvider } from '../local-provider.ts'
import { failures, scanText } from '../ui/present-scan.ts'

export function register(program: Command): void {
  program
    .command('scan')
    .summary('count all envelopes, or open each of them')
    .description(
      'Counts all envelopes by version. With --unwrap it opens the wrapped data key of each one, with the keys of this ' +
        'host, and proves it; nothing is written. Exit 6 where one does not open, or is odd: no version can be told. ' +
        'Exit 3 where a recorded collection is missing or another one: it is not opened.',
    )
    .option('--unwrap', 'open each wrapped data key')
    .addHelpText('after', '\nExample: keyturn scan --unwrap --json | jq .failed')
    .action(
      answering<{ unwrap?: boolean }>(async (context, { unwrap }) => {
        const config = context.config()
        const view = await scan(config, unwrap === true ? openAll(config) : null)
        return { json: view, text: scanText(view), error: failureOf(view) }
      }),
    )
}

function failureOf(view: ScanView): KeyturnError | null {
  const [lost] = view.lost ?? []
  if (lost !== undefined) {
    return new KeyturnError(lost.code, lost.message, {
      hint: 'its envelopes are not opened; keyturn doctor says what to do',
    })
  }
  const hint = 'each is listed with its reason; restore it from a backup'
  const all = failures(view)
  if (all === 0) return null
  if (all > view.odd) {
    return new KeyturnError('envelope-unreadable', `${all} envelopes could not be opened`, { hint })
  }
  const message = `${all} envelopes are odd: the key that they need is unknown`
  return new KeyturnError('malformed', message, { hint })
}

function openAll(config: Config) {
  return (keystore: Keystore, collections: readonly CollectionConfig[]) =>
    withLocalProvider(config, async (provider) => {
      for (const kek of await loadableKeks(keystore)) await provider.load(kek)
      const census = await untilInterrupted((signal) =>
        scanUnwrap({
          store: keystore.store,
          provider,
          install: config.install,
          collections,
          onProgress: () => undefined,
          signal,
        }),
      )
      return openingView(keystore, census)
    })
}
