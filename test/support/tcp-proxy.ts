import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  /** `mongodb://…` through the proxy; direct, since a replica set would tell the driver to go around it. */
  readonly uri: string
  /** `host:port` of the proxy, for other servers than MongoDB. */
  readonly address: string
  /** Breaks all connections and takes no new ones. */
  cut(): void
  /** Holds all bytes back, like a network that drops every packet. */
  hold(): void
  /** Ends cut and hold. */
  heal(): void
  close(): Promise<void>
}

/** A proxy to `server` (a URL with host and port) that a test can cut. It listens at `host`. */
export async function openTcpProxy(server: string, host = '127.0.0.1'): Promise<TcpProxy> {
  const target = new URL(server)
  const sockets = new Set<Socket>()
  let isCut = false
  let isHeld = false
  const listener = createServer((near) => {
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
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, host, resolve)
  })
  const bound = listener.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  const address = `${host}:${bound.port}`
  const destroyAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    uri: `mongodb://${address}/?directConnection=true`,
    address,
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
      return new Promise((resolve) => listener.close(() => resolve()))
    },
  }
}
