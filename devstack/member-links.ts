import { readFile, readdir, readlink } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/**
 * The connections to the members of a replica set. Each member is reached at the port of a proxy in this process, by clients
 * and by the other members, so that a connection can be cut by who opened it: a partition without network namespaces and
 * without root. The process behind a connection is found in /proc (Linux): the socket's inode, and who has it open.
 */
export class MemberLinks {
  readonly #proxies: Server[] = []
  readonly #connections = new Set<Connection>()
  /** Pairs `from>to` of members. */
  readonly #cut = new Set<string>()
  /** The process of a member, by its position; null when it does not run. */
  readonly #pidOf: (member: number) => number | null

  constructor(pidOf: (member: number) => number | null) {
    this.#pidOf = pidOf
  }

  /** Opens the proxy of the next member, which listens on `port`; returns the proxy's port. */
  async open(port: number): Promise<number> {
    const to = this.#proxies.length
    const proxy = createServer({ pauseOnConnect: true }, (near) => {
      near.on('error', () => near.destroy())
      void this.#accept(near, to, port)
    })
    this.#proxies.push(proxy)
    await new Promise<void>((resolve, reject) => {
      proxy.once('error', reject)
      proxy.listen(0, '127.0.0.1', resolve)
    })
    return (proxy.address() as AddressInfo).port
  }

  /** Ends the connections that `from` has opened to `to`, and refuses new ones. The other direction stays. */
  cut(from: number, to: number): void {
    this.#cut.add(`${from}>${to}`)
    for (const connection of this.#connections) {
      if (connection.from === from && connection.to === to) connection.end()
    }
  }

  heal(): void {
    this.#cut.clear()
  }

  async close(): Promise<void> {
    const closed = this.#proxies.map(
      (proxy) => new Promise<void>((resolve) => proxy.close(() => resolve())),
    )
    for (const connection of this.#connections) connection.end()
    await Promise.all(closed)
  }

  async #accept(near: Socket, to: number, port: number): Promise<void> {
    const from = await this.#memberBehind(near)
    if (near.destroyed || (from !== null && this.#cut.has(`${from}>${to}`))) {
      near.destroy()
      return
    }
    const far = connect(port, '127.0.0.1')
    const end = () => {
      near.destroy()
      far.destroy()
      this.#connections.delete(connection)
    }
    const connection: Connection = { from, to, end }
    this.#connections.add(connection)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', end)
      one.on('close', end)
      one.setNoDelay(true)
      one.pipe(other)
    }
  }

  /** The member that opened the connection; null for a client. */
  async #memberBehind({ remotePort, localPort }: Socket): Promise<number | null> {
    const inode = await inodeOf(remotePort ?? 0, localPort ?? 0)
    if (inode === null) return null
    for (let member = 0; member < this.#proxies.length; member += 1) {
      const pid = this.#pidOf(member)
      if (pid !== null && (await hasOpen(pid, `socket:[${inode}]`))) return member
    }
    return null
  }
}

interface Connection {
  readonly from: number | null
  readonly to: number
  end(): void
}

/** The inode of the socket that is connected from one port of the loopback address to another. */
async function inodeOf(from: number, to: number): Promise<string | null> {
  const [local, remote] = [from, to].map(
    (port) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`,
  )
  const table = await readFile('/proc/net/tcp', 'latin1')
  const line = table.split('\n').find((each) => each.includes(` ${local} ${remote} `))
  // sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode
  return line?.trim().split(/\s+/)[9] ?? null
}

async function hasOpen(pid: number, target: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder).catch(() => [])
  const targets = await Promise.all(
    names.map((name) => readlink(`${folder}/${name}`).catch(() => '')),
  )
  return targets.includes(target)
}
