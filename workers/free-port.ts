import { randomInt } from 'node:crypto'
import getPort from 'get-port'

/** Below the ports of outgoing connections (Linux: from 32768, RFC 6335: from 49152), so that none of those takes it. */
const lowest = 20_000
const highest = 32_000
/** Random, because several processes look for a port at once. */
const candidates = 50

/**
 * A port that is free on the loopback address, and that this function has not returned in the last 15 seconds. Another server
 * may take it before it is used: the caller must be prepared to ask again.
 */
export async function freePort(): Promise<number> {
  const port = Array.from({ length: candidates }, () => randomInt(lowest, highest))
  return await getPort({ host: '127.0.0.1', port })
}
