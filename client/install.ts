import type { InstallInput, InstallResult } from '../contracts/install.ts'
import { KeyturnError } from '../contracts/errors.ts'
import type { ProviderName } from '../contracts/kek.ts'
import { workflowIds } from '../contracts/names.ts'
import type { Config } from '../contracts/settings.ts'
import { insertTask } from '../store/kek-tasks.ts'
import { withOwnKeystore } from './keystore.ts'
import { prepareForInstall } from './setup.ts'
import { requireWorker } from './views/workers.ts'
import { withTemporal } from './temporal/connection.ts'
import { requirePollers } from './temporal/pollers.ts'
import { requester } from './temporal/names.ts'
import { runServed } from './temporal/run-served.ts'

/** A key that an administrator made. A null `label` means the configured one, a null `keyId` any id. */
export interface RegisteredKey {
  label: string | null
  keyId: string | null
}

/**
 * Installs a version through a running worker, after `setup` where it has not run yet. Repeating a finished installation
 * returns `created: false`. Throws config-invalid when the file is for the other provider, install-locked, no-worker,
 * material-missing with the nodes' names, key-exists, and what the probe found. With `registered` no key is made: the
 * given one is looked up, which throws key-not-found, key-ambiguous, key-attributes and version-exists.
 */
export async function installKek(
  config: Config,
  provider: ProviderName,
  version: number,
  registered?: RegisteredKey,
): Promise<InstallResult> {
  requireProvider(config, provider)
  return withOwnKeystore(config, async (keystore) => {
    return withTemporal(config, async (link) => {
      const install = await prepareForInstall(config, keystore, link)
      await requireWorker(keystore.store)
      await requirePollers(link, install, ['control', 'rewrap'])
      const input: InstallInput = {
        install,
        task: await insertTask(keystore.store, { kind: 'install', by: requester() }),
        version,
        provider,
        origin: originOf(provider, registered),
        label: registered?.label ?? null,
        keyId: registered?.keyId ?? null,
        requestedBy: requester(),
      }
      return runServed(link, keystore.store, {
        workflow: 'install',
        workflowId: workflowIds.install(install, version),
        install,
        input,
        summary: `install v${version} of ${install.name}`,
      })
    })
  })
}

function originOf(provider: ProviderName, registered?: RegisteredKey): InstallInput['origin'] {
  if (provider === 'env') return 'environment'
  return registered === undefined ? 'generated' : 'registered'
}

function requireProvider(config: Config, provider: ProviderName): void {
  if (config.kek.provider === provider) return
  throw new KeyturnError(
    'config-invalid',
    `kek.provider is "${config.kek.provider}" in ${config.file}`,
    {
      hint: `the command for it is keyturn ${config.kek.provider}-init`,
    },
  )
}
