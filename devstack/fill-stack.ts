import { openKeyring } from '../keyring/index.ts'
import { openStore } from '../store/store.ts'
import { commandsOn } from './demo/commands.ts'
import { count, secondsSince } from './demo/figures.ts'
import { createReporter } from './demo/reporter.ts'
import { families, sealRecords } from './demo/records.ts'
import type { Print } from './servers/progress.ts'
import type { Stack } from './stack.ts'

/** Installs versions 1 and 2, and seals `records` secrets under 1. A stack that already has records is left as it is. */
export async function fillStack(stack: Stack, records: number, print: Print): Promise<void> {
  const store = await openStore({ uri: stack.mongoUri, database: stack.settings.database })
  try {
    const [family] = families
    if ((await store.db.collection(family.collection).estimatedDocumentCount()) > 0) return
    const keyturn = commandsOn(stack, createReporter(print))
    const init = stack.provider === 'pkcs11' ? 'pkcs11-init' : 'env-init'
    for (const version of ['1', '2']) await keyturn.run(init, '--version', version)
    const began = performance.now()
    // The lanes of this process load the module, and read these variables.
    Object.assign(process.env, stack.keyEnv)
    const keyring = await openKeyring({ config: stack.configPath, node: 'seeder', ephemeral: true })
    await sealRecords(keyring, store.db, records).finally(() => keyring.close())
    print(
      `${count(records)} secrets sealed under v1 in ${secondsSince(began)}; to rotate them: keyturn rotate --to-version 2`,
    )
  } finally {
    await store.close()
  }
}
