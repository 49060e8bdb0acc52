import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Log } from '../../observability/log.ts'
import type { AccessRules } from './access.ts'
import { answer } from './answer.ts'
import type { PageSources } from './answer.ts'
import { headerMs, limitConnections, maxHeaderBytes } from './connection-limits.ts'
import { onceASecond } from './once-a-second.ts'

export interface Listening {
  /** `worker.listen`. */
  readonly listen: string
  readonly token: AccessRules['token']
  readonly log: Log
}

export interface Listener {
  readonly address: string
  close(): Promise<void>
}

/**
 * The worker's pages: `/healthz` (the process runs), `/readyz` (it can do its work, else 503), and for those who may read
 * them (access.ts) the reason at `/readyz`, `/metrics` (Prometheus) and `/api/status` (JSON). If the port is taken, a warning is logged and a
 * free port is used; the worker starts in any case.
 */
export async function openListener(sources: PageSources, options: Listening): Promise<Listener> {
  const { listen, token, log } = options
  const shared = {
    ...sources,
    metrics: onceASecond(() => sources.metrics()),
    status: onceASecond(() => sources.status()),
  }
  const { host, port } = splitAddress(listen)
  let rules: AccessRules = { isLoopback: false, host, token }
  const limits = {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: headerMs,
    requestTimeout: headerMs,
    connectionsCheckingInterval: 1_000,
  }
  const server = createServer(limits, (request, response) => {
    answer(request, response, rules, shared).catch((error: unknown) => {
      log.warn({ err: error }, 'a page of the listener failed')
      response.writeHead(500).end('the page failed\n')
    })
  })
  limitConnections(server)
  try {
    await listenAt(server, port, host)
  } catch (error) {
    log.warn({ err: error, listen }, 'the address is taken: listening on a free port')
    await listenAt(server, 0, host)
  }
  const bound = server.address() as AddressInfo
  rules = { ...rules, isLoopback: isLoopback(bound.address) }
  if (token === null && !rules.isLoopback) {
    log.warn(
      { listen },
      'without worker.token_file, an address outside loopback serves only /healthz and /readyz',
    )
  }
  const close = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return { address: `${host.includes(':') ? `[${host}]` : host}:${bound.port}`, close }
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}

function splitAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':')
  return {
    host: listen.slice(0, colon).replace(/^\[|\]$/g, ''),
    port: Number(listen.slice(colon + 1)),
  }
}

async function listenAt(server: Server, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
