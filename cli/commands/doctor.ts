import type { Command } from 'commander'
import { examine } from '../../client/doctor/examine.ts'
import type { Keystore } from '../../client/keystore.ts'
import type { Check } from '../../client/doctor/check.ts'
import { fail, ok, warn } from '../../client/doctor/check.ts'
import { loadableKeks } from '../../client/views/opening.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { answering } from '../answer.ts'
import { declaredLayoutChecks } from '../doctor/layout-checks.ts'
import { withLocalProvider } from '../local-provider.ts'
import { probeInterruptibly } from '../ui/interruptible-probe.ts'
import { fallbackHint, withoutItself } from '../ui/own-hint.ts'
import { checksText } from '../ui/present-checks.ts'
import { tokenChecks } from '../doctor/token-checks.ts'

export function register(program: Command): void {
  program
    .command('doctor')
    .summary('check everything that the configuration names')
    .description(
      'Checks configuration, MongoDB, Temporal, module, token, PIN, keys and clock as this host sees them: one line each, ' +
        'with what to do about it. It never changes anything; an HSM is probed with a throwaway key. Exit 4 where one fails.',
    )
    .addHelpText('after', '\nExample: keyturn doctor --config /etc/keyturn/keyturn.yaml')
    .action(
      answering(async (context) => {
        const config = context.config()
        const found = await examine(config, (keystore) => kekChecks(config, keystore))
        const checks = [ok('configuration', config.file), ...found].map(withUsableCheckHint)
        const failed = checks.filter(({ state }) => state === 'fail')
        const [first] = failed
        const error =
          first === undefined
            ? null
            : new KeyturnError('unhealthy', `${failed.length} of ${checks.length} checks failed`, {
                hint: first.cure ?? 'see above',
              })
        return { json: { checks, ok: error === null }, text: checksText(checks), error }
      }),
    )
}

/** A check whose hint does not name doctor itself. */
function withUsableCheckHint(check: Check): Check {
  const { cure } = check
  return cure === null ? check : { ...check, cure: withoutItself(cure, 'doctor') ?? fallbackHint }
}

/** Probes the token as pkcs11-init does, then checks each installed key with its canary. Leaves nothing on the token. */
async function kekChecks(config: Config, keystore: Keystore | null): Promise<Check[]> {
  const { provider } = config.kek
  return withLocalProvider(config, async (keys) => {
    const checks =
      provider === 'env'
        ? [ok(provider, 'its variables are well-formed')]
        : tokenChecks(await probeInterruptibly((signal) => keys.ceremony.probe(signal)))
    for (const kek of keystore === null ? [] : await loadableKeks(keystore)) {
      const name = `key v${kek.version}`
      try {
        await keys.load(kek)
        checks.push(ok(name, `"${kek.label}" opens its canary`))
      } catch (error) {
        if (!(error instanceof KeyturnError)) throw error
        const isForWorkers = error.code === 'material-missing'
        const hint = error.hint ?? 'see docs/troubleshooting.md'
        checks.push((isForWorkers ? warn : fail)(name, error.message, hint))
      }
    }
    if (keystore !== null) checks.push(...(await declaredLayoutChecks(keystore, keys)))
    return checks
  })
}
