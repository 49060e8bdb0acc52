import { randomInt } from 'node:crypto'
import { createServer, Socket } from 'node:net'

/** Below the ports that systems give to outgoing connections (Linux: 32768 on, RFC 6335: 49152 on): none of those takes it. */
const lowest = 20_000
const highest = 32_000

/**
 * A port that was free a moment ago on the loopback address. Another server may take it in between: who starts one on it
 * must be ready to ask again.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(lowest, highest)
    if (await isFree(port)) return port
  }
}

/** Whether nobody listens there now. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => {
      resolve(false)
    })
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true)
      })
    })
  })
}

/** Whether somebody takes a connection there now. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = new Socket()
    const finish = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => {
      finish(true)
    })
    socket.once('error', () => {
      finish(false)
    })
    socket.connect(port, '127.0.0.1')
  })
}
