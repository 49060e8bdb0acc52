import { randomBytes } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask, connectTo } from './support.ts'

/** A flood on a listener until it is stopped. */
export interface Flood {
  /** What was sent and answered so far; each must have happened for the flood to be one. */
  readonly counts: { randomBytes: number; oversized: number; slow: number; answered: number }
  stop(): Promise<void>
}

/**
 * 8 KB a second of random bytes, requests with oversized headers, clients that send a byte of a header a second, and rounds
 * of 1,000 parallel requests. Only `path` is read, so every answer has the same status.
 */
export function flood(address: string, path: string): Flood {
  const counts = { randomBytes: 0, oversized: 0, slow: 0, answered: 0 }
  const stopped = new AbortController()
  const { signal } = stopped
  setMaxListeners(0, signal)
  const again = async (everyMs: number, round: () => Promise<void>) => {
    while (!signal.aborted) {
      await round()
      await sleep(everyMs, undefined, { signal }).catch(() => undefined)
    }
  }
  const open = () => {
    const socket = connectTo(address)
    socket.on('error', () => undefined).resume()
    signal.addEventListener('abort', () => socket.destroy(), { once: true })
    return socket
  }
  const slow = () => {
    let socket = open()
    return async () => {
      if (socket.destroyed) socket = open().setNoDelay()
      if (socket.readyState === 'open') socket.write('G')
      counts.slow += 1
    }
  }
  const count = () => (counts.answered += 1)
  const attacks = [
    again(1_000, async () => {
      open().end(randomBytes(8_192))
      counts.randomBytes += 8_192
    }),
    again(100, async () => {
      await ask(address, path, { 'x-long': 'a'.repeat(12_000) }).catch(() => null)
      counts.oversized += 1
    }),
    ...Array.from({ length: 16 }, () => again(1_000, slow())),
    again(10, async () => {
      const asks = Array.from({ length: 1_000 }, () => ask(address, path).then(count, () => null))
      await Promise.all(asks)
    }),
  ]
  return {
    counts,
    async stop() {
      stopped.abort()
      await Promise.all(attacks)
    },
  }
}
