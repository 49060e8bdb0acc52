import { findServer } from './servers/find-server.ts'
import type { FoundServer } from './servers/find-server.ts'
import type { Print } from './servers/progress.ts'
import { ensureSoftHsm } from './servers/softhsm.ts'
import type { SoftHsm } from './servers/softhsm.ts'

/** With an address in these variables that server is used and none is started (nor fetched by `scripts/ready.mjs`). */
export const addressVariables = {
  mongod: 'KEYTURN_STACK_MONGODB_URI',
  temporal: 'KEYTURN_STACK_TEMPORAL_ADDRESS',
} as const

/**
 * Makes sure that the servers of a stack are on this machine, and prints where each came from. Null: an address is given, so
 * none is started; for SoftHSM2: it is not available.
 */
export async function fetchServers(
  print: Print,
): Promise<{ mongod: FoundServer | null; temporal: FoundServer | null; softhsm: SoftHsm | null }> {
  const find = async (name: 'mongod' | 'temporal') => {
    const address = process.env[addressVariables[name]]
    if (address) return null
    const found = await findServer(name, { print })
    print(`${name} ${found.version} (${found.from})`)
    return found
  }
  const mongod = await find('mongod')
  const temporal = await find('temporal')
  const softhsm = await ensureSoftHsm(print)
  if (softhsm !== null) print(`softhsm ${softhsm.version} (${softhsm.modulePath})`)
  return { mongod, temporal, softhsm }
}
