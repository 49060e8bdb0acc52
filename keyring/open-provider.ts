import { readEnvKeks } from '../config/env-keks.ts'
import { readPin } from '../config/pin.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { Config } from '../contracts/settings.ts'
import type { Log } from '../observability/log.ts'
import { openEnvProvider } from '../providers/env/env-provider.ts'
import { openPkcs11Provider } from '../providers/pkcs11/pkcs11-provider.ts'
import type { KekProvider } from '../providers/provider.ts'
import { openReopening, type ReopenedProvider } from './reopened-provider.ts'

/**
 * The provider that a configuration names, with its secrets taken from the environment given. Throws env-key-invalid,
 * pin-missing, pin-file-unsafe, module-missing, token-not-found, pin-refused and the like.
 */
export async function openProvider(
  config: Config,
  env: NodeJS.ProcessEnv,
  log: Log,
): Promise<KekProvider> {
  const { install, kek } = config
  if (kek.provider === 'env') {
    const { variablePrefix } = kek.env
    return openEnvProvider({ install, variablePrefix, keks: readEnvKeks(variablePrefix, env) })
  }
  if (kek.pkcs11 === undefined) {
    throw new KeyturnError('config-invalid', 'provider "pkcs11" has no settings', {
      hint: 'add kek.pkcs11 to keyturn.yaml',
    })
  }
  const { pin, warnings } = readPin(kek.pkcs11, env)
  for (const warning of warnings) log.warn(warning)
  return openPkcs11Provider({ install, config: kek.pkcs11, pin, log })
}

/**
 * The same for a process that outlives its key store: one that is away, or not there yet, is looked for again, and a PIN that
 * was refused is tried no more before another one stands in its place. Throws what is wrong with the configuration.
 */
export async function openLastingProvider(
  config: Config,
  env: NodeJS.ProcessEnv,
  log: Log,
): Promise<ReopenedProvider> {
  return openReopening({
    name: config.kek.provider,
    log,
    open: () => openProvider(config, env, log),
    pinNow: () => pinNow(config, env),
  })
}

function pinNow({ kek }: Config, env: NodeJS.ProcessEnv): string | null {
  if (kek.provider !== 'pkcs11' || kek.pkcs11 === undefined) return null
  try {
    return readPin(kek.pkcs11, env).pin
  } catch {
    // The caller reports an error of the key store.
    return null
  }
}
