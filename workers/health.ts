import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Log } from '../observability/log.ts'

/** How long a rendered metrics page is reused, in milliseconds. */
const renderedForMs = 1_000

/** The sources of the pages. */
export interface HealthSources {
  /** Why this process does not do its work; null when it does. */
  notReady(): Promise<string | null>
  metrics(): Promise<string>
}

export interface HealthPages {
  readonly address: string
  close(): Promise<void>
}

/**
 * `/healthz` (the process runs), `/readyz` (it can do its work, else 503 and the reason), `/metrics` (Prometheus). If the port
 * is taken, a warning is logged and a free port is used; the worker starts in any case.
 */
export async function openHealthPages(
  listen: string,
  sources: HealthSources,
  log: Log,
): Promise<HealthPages> {
  const shared = { ...sources, metrics: onceASecond(() => sources.metrics()) }
  const server = createServer((request, response) => {
    answer(request, response, shared).catch((error: unknown) => {
      log.warn({ err: error }, 'health page failed')
      response.writeHead(500).end('the page failed\n')
    })
  })
  const { host, port } = splitAddress(listen)
  try {
    await listenAt(server, port, host)
  } catch (error) {
    log.warn({ err: error, listen }, 'the address is taken: listening on a free port')
    await listenAt(server, 0, host)
  }
  const { port: bound } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return { address: `${host}:${bound}`, close }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  sources: HealthSources,
): Promise<void> {
  const { status, text } = await pageOf(request.url, sources)
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

async function pageOf(url: string | undefined, sources: HealthSources) {
  switch (url) {
    case '/healthz':
      return { status: 200, text: 'ok' }
    case '/readyz': {
      const reason = await sources.notReady()
      return { status: reason === null ? 200 : 503, text: reason ?? 'ok' }
    }
    case '/metrics':
      return { status: 200, text: (await sources.metrics()).trimEnd() }
    default:
      return { status: 404, text: 'there are /healthz, /readyz and /metrics' }
  }
}

/** Renders at most once a second, however many requests there are. A failed rendering is not reused. */
export function onceASecond<T>(render: () => Promise<T>): () => Promise<T> {
  let last: { at: number; page: Promise<T> } | null = null
  return () => {
    if (last !== null && performance.now() - last.at < renderedForMs) return last.page
    const rendered = { at: performance.now(), page: render() }
    last = rendered
    rendered.page.catch(() => {
      if (last === rendered) last = null
    })
    return rendered.page
  }
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
