import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  /** `mongodb://…` through the proxy; direct, since a replica set would tell the driver to go around it. */
  readonly uri: string
  /** Breaks all connections and takes no new ones. */
  cut(): void
  /** Holds all bytes back, like a network that drops every packet. */
  hold(): void
  /** Ends cut and hold. */
  heal(): void
  close(): Promise<void>
}

/** A way to the MongoDB at `mongoUri` that a test can cut. */
export async function openTcpProxy(mongoUri: string): Promise<TcpProxy> {
  const target = new URL(mongoUri)
  const sockets = new Set<Socket>()
  let isCut = false
  let isHeld = false
  const server = createServer((near) => {
    if (isCut) {
      near.destroy()
      return
    }
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
      if (isHeld) from.pause()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const destroyAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    uri: `mongodb://127.0.0.1:${address.port}/?directConnection=true`,
    cut() {
      isCut = true
      destroyAll()
    },
    hold() {
      isHeld = true
      for (const socket of sockets) socket.pause()
    },
    heal() {
      isCut = false
      isHeld = false
      for (const socket of sockets) socket.resume()
    },
    close() {
      destroyAll()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
