import type { CanaryCheck } from '../../client/relocate.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { Config } from '../../contracts/settings.ts'
import { withLocalProvider } from '../local-provider.ts'

/** Whether this host's keys open the canary of each version. A token that cannot be opened is the error of all. */
export async function canariesHere(
  config: Config,
  keks: readonly KekDescriptor[],
): Promise<CanaryCheck[]> {
  try {
    return await withLocalProvider(config, async (keys) => {
      const checks: CanaryCheck[] = []
      for (const kek of keks) {
        const error = await keys.load(kek).then(() => null, codedError)
        checks.push({ version: kek.version, error })
      }
      return checks
    })
  } catch (error) {
    const report = codedError(error)
    return keks.map(({ version }) => ({ version, error: report }))
  }
}

function codedError(error: unknown) {
  if (error instanceof KeyturnError) return error.toJSON()
  throw error
}
