import type { IncomingMessage } from 'node:http'

/** What decides who may read: where the listener is bound, and the token that it asks for. */
export interface AccessRules {
  /** Only processes of this host reach it. */
  readonly isLoopback: boolean
  /** The host of `worker.listen`. */
  readonly host: string
  /** Null if `worker.token_file` is not configured. */
  readonly token: { isIn(authorization: string | undefined): boolean } | null
}

/**
 * `all`, or only `/healthz` and `/readyz` without its reason: `health` where the listener has no token, `unauthorized` where
 * the request lacks it. `misdirected`: the request was not meant for this listener, and gets nothing.
 */
export type Access = 'all' | 'health' | 'unauthorized' | 'misdirected'

/** Names of this host that no DNS record of somebody else can take. */
const localNames = ['localhost', '127.0.0.1', '[::1]']

/**
 * Without a token, a listener on the loopback interface trusts the processes of its host. Two ways lead others to it: a
 * proxy on this host, and a page in a browser whose own name was made to point here (DNS rebinding). Both are seen in the
 * headers. `headersDistinct` has repeated headers, of which Node's `headers` keeps only the first.
 */
export function accessOf(
  { headers, headersDistinct }: Pick<IncomingMessage, 'headers' | 'headersDistinct'>,
  { isLoopback, host, token }: AccessRules,
): Access {
  if (token !== null) return token.isIn(headers.authorization) ? 'all' : 'unauthorized'
  if (!isLoopback) return 'health'
  const hosts = headersDistinct.host ?? ['']
  const own = [...localNames, host.toLowerCase(), `[${host.toLowerCase()}]`]
  const isOwn = hosts.every((name) => own.includes(withoutPort(name)))
  return isOwn && !Object.keys(headers).some(isOfProxy) ? 'all' : 'misdirected'
}

function withoutPort(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '')
}

function isOfProxy(header: string): boolean {
  return header === 'forwarded' || header === 'via' || header.startsWith('x-forwarded-')
}
