import type { IncomingMessage, ServerResponse } from 'node:http'
import { accessOf } from './access.ts'
import type { AccessRules } from './access.ts'

/** The sources of the pages. */
export interface PageSources {
  /** Why this process does not do its work; null when it does. */
  notReady(): Promise<string | null>
  metrics(): Promise<string>
  /** The JSON of `/api/status`; null before there is one. */
  status(): Promise<object | null>
}

interface Page {
  readonly status: number
  readonly text: string
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** Nothing of an answer may be run, framed, cached, or read by another site. */
const securityHeaders = {
  'content-security-policy':
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
}

export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  rules: AccessRules,
  sources: PageSources,
): Promise<void> {
  const page = await pageOf(request, rules, sources)
  // The rest of a request with a body is not read.
  const closing = hasBody(request) ? { connection: 'close' } : {}
  response
    .writeHead(page.status, {
      ...securityHeaders,
      'content-type': page.type ?? 'text/plain; charset=utf-8',
      ...page.headers,
      ...closing,
    })
    .end(`${page.text}\n`)
}

async function pageOf(
  request: IncomingMessage,
  rules: AccessRules,
  sources: PageSources,
): Promise<Page> {
  const access = accessOf(request, rules)
  if (access === 'misdirected') {
    return { status: 421, text: 'only a request from this host itself is answered without a token' }
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return { status: 405, text: 'only GET and HEAD', headers: { allow: 'GET, HEAD' } }
  }
  if (hasBody(request)) return { status: 413, text: 'a request has no body here' }
  const [path = ''] = (request.url ?? '').split('?', 1)
  const health = await healthPage(path, access === 'all', sources)
  if (health !== null) return health
  if (access === 'unauthorized') {
    const headers = { 'www-authenticate': 'Bearer realm="keyturn"' }
    return { status: 401, text: 'Authorization: Bearer is missing or wrong', headers }
  }
  if (access === 'health') return { status: 404, text: 'there are /healthz and /readyz' }
  return await statusPage(path, sources)
}

async function healthPage(
  path: string,
  showReason: boolean,
  sources: PageSources,
): Promise<Page | null> {
  if (path === '/healthz') return { status: 200, text: 'ok' }
  if (path !== '/readyz') return null
  const reason = await sources.notReady()
  if (reason === null) return { status: 200, text: 'ok' }
  return { status: 503, text: showReason ? reason : 'not ready' }
}

async function statusPage(path: string, sources: PageSources): Promise<Page> {
  switch (path) {
    case '/metrics': {
      const text = (await sources.metrics()).trimEnd()
      return { status: 200, text, type: 'text/plain; version=0.0.4; charset=utf-8' }
    }
    case '/api/status': {
      const status = await sources.status()
      const text = JSON.stringify(status ?? { asOf: null })
      return { status: status === null ? 503 : 200, text, type: 'application/json' }
    }
    default:
      return { status: 404, text: 'there are /healthz, /readyz, /metrics and /api/status' }
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}
