import { readFileSync } from 'node:fs'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { createServer, type SecureContextOptions } from 'node:tls'
import type { Certificate } from './certificates.ts'

/** TLS in front of a server that has none, as a load balancer or a sidecar does it. It wants a client certificate. */
export interface TlsProxy {
  /** `host:port`. */
  readonly address: string
  /** Uses another certificate and trusts other CAs for new connections, and breaks those that are open. */
  replace(own: Certificate, trusted: readonly string[]): void
  /** Open connections. */
  connections(): number
  close(): Promise<void>
}

/** `target`: `host:port`. `trusted`: files of the CAs that may sign client certificates. */
export async function openTlsProxy(
  target: string,
  own: Certificate,
  trusted: readonly string[],
): Promise<TlsProxy> {
  const [host = '', port = ''] = target.split(':')
  const open = new Set<Socket>()
  const asked = { requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] }
  const server = createServer({ ...secureContext(own, trusted), ...asked }, (near) => {
    const far = connect(Number(port), host)
    open.add(near)
    near
      .on('error', () => far.destroy())
      .on('close', () => {
        open.delete(near)
        far.destroy()
      })
    far.on('error', () => near.destroy()).on('close', () => near.destroy())
    near.pipe(far).pipe(near)
  })
  // A client that is refused ends its own connection.
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    replace(next, cas) {
      server.setSecureContext(secureContext(next, cas))
      cut()
    },
    connections: () => open.size,
    close() {
      cut()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function secureContext(own: Certificate, trusted: readonly string[]): SecureContextOptions {
  return {
    cert: readFileSync(own.cert),
    key: readFileSync(own.key),
    ca: trusted.map((file) => readFileSync(file)),
  }
}
