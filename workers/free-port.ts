import { randomInt } from 'node:crypto'
import getPort from 'get-port'

/** Below the ports that systems give to outgoing connections (Linux: 32768 on, RFC 6335: 49152 on): none of those takes it. */
const lowest = 20_000
const highest = 32_000
/** Random, because several processes look for a port at once. */
const candidates = 50

/**
 * A port that was free a moment ago on the loopback address, and that this process was not given in the last 15 seconds.
 * Another server may take it in between: who starts one on it must be ready to ask again.
 */
export async function freePort(): Promise<number> {
  const port = Array.from({ length: candidates }, () => randomInt(lowest, highest))
  return await getPort({ host: '127.0.0.1', port })
}
