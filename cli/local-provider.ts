import type { Config } from '../contracts/settings.ts'
import { openProvider } from '../keyring/open-provider.ts'
import { createLog } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'

/** The keys of this host, for `scan --unwrap` and `doctor`: opened for `use`, closed after. */
export async function withLocalProvider<T>(
  config: Config,
  use: (provider: KekProvider) => Promise<T>,
): Promise<T> {
  const log = createLog({ level: 'warn', pretty: config.log.pretty })
  const provider = await openProvider(config, process.env, log)
  try {
    return await use(provider)
  } finally {
    await provider.close()
  }
}
