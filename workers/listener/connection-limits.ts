import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Connections that one address may hold; more are closed at once. */
const perPeer = 64
/** Connections of all peers: a process needs its descriptors for MongoDB, Temporal and the token. */
const inAll = 512
/** Bytes of a request's line and headers. */
export const maxHeaderBytes = 8_192
/** Time for a request's line and headers, and for a whole request, in milliseconds. */
export const headerMs = 10_000
/** A peer that neither sends nor reads for this time is closed, in milliseconds. */
const idleMs = 30_000

/** Bounds what peers can hold of the server: connections, and time. */
export function limitConnections(server: Server): void {
  server.maxConnections = inAll
  server.timeout = idleMs
  // Node ignores headers above this number, also those that decide about access; the bytes are bounded already.
  server.maxHeadersCount = 0
  const open = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const peer = socket.remoteAddress ?? ''
    const count = (open.get(peer) ?? 0) + 1
    open.set(peer, count)
    socket.once('close', () => {
      const left = (open.get(peer) ?? 1) - 1
      if (left === 0) open.delete(peer)
      else open.set(peer, left)
    })
    if (count > perPeer) socket.destroy()
  })
}
