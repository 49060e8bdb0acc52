import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { fail, type Check } from './check.ts'
import { addressChecks, keystoreChecks, temporalChecks } from './checks.ts'

/**
 * Checks everything that a configuration names, and changes nothing. `kekChecks` checks the token or the variables; it gets
 * the keystore, or null where MongoDB does not answer.
 */
export async function examine(
  config: Config,
  kekChecks: (keystore: Keystore | null) => Promise<Check[]>,
): Promise<Check[]> {
  const behindMongo = async (keystore: Keystore) => [
    ...addressChecks(config),
    ...(await keystoreChecks(config, keystore)),
    ...(await orFailing('temporal', () => temporalChecks(config, keystore))),
    ...(await orFailing('kek', () => kekChecks(keystore))),
  ]
  const reached = { mongodb: false }
  try {
    return await withKeystore(config, (keystore) => {
      reached.mongodb = true
      return behindMongo(keystore)
    })
  } catch (error) {
    if (reached.mongodb || !(error instanceof KeyturnError)) throw error
    return [
      ...addressChecks(config),
      failing('mongodb', error),
      ...(await orFailing('temporal', () => temporalChecks(config, null))),
      ...(await orFailing('kek', () => kekChecks(null))),
    ]
  }
}

async function orFailing(check: string, look: () => Promise<Check[]>): Promise<Check[]> {
  try {
    return await look()
  } catch (error) {
    if (!(error instanceof KeyturnError) || error.code === 'cancelled') throw error
    return [failing(check, error)]
  }
}

export function failing(check: string, error: KeyturnError): Check {
  return fail(check, error.message, error.hint ?? 'see docs/troubleshooting.md')
}
