import { findServer } from './servers/find-server.ts'
import type { FoundServer } from './servers/find-server.ts'
import type { Say } from './servers/progress.ts'
import { ensureSoftHsm } from './servers/softhsm.ts'
import type { SoftHsm } from './servers/softhsm.ts'

/** An address here means: use that server, start none (`scripts/ready.mjs` then fetches none either). */
export const addressVariables = {
  mongod: 'KEYTURN_STACK_MONGODB_URI',
  temporal: 'KEYTURN_STACK_TEMPORAL_ADDRESS',
} as const

/**
 * Makes sure that everything a stack starts is on this machine, and says where each came from. What is null need not
 * be started (an address is given) or is not to be had (SoftHSM2).
 */
export async function fetchServers(
  say: Say,
): Promise<{ mongod: FoundServer | null; temporal: FoundServer | null; softhsm: SoftHsm | null }> {
  const find = async (name: 'mongod' | 'temporal') => {
    const address = process.env[addressVariables[name]]
    if (address) return null
    const found = await findServer(name, { say })
    say(`${name} ${found.version} (${found.from})`)
    return found
  }
  const mongod = await find('mongod')
  const temporal = await find('temporal')
  const softhsm = await ensureSoftHsm(say)
  if (softhsm !== null) say(`softhsm ${softhsm.version} (${softhsm.modulePath})`)
  return { mongod, temporal, softhsm }
}
