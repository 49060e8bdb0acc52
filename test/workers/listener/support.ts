import { request } from 'node:http'
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { text } from 'node:stream/consumers'
import { onTestFinished } from 'vitest'
import { silentLog } from '../../../observability/log.ts'
import { openListener } from '../../../workers/listener/open-listener.ts'
import type { Listener, Listening } from '../../../workers/listener/open-listener.ts'

export const reason = 'lease-expired: no heartbeat reached MongoDB in time'

const sources = {
  notReady: async (): Promise<string | null> => reason,
  metrics: async () => 'figures\n',
  status: async (): Promise<object | null> => ({ asOf: '2026-01-01T00:00:00.000Z' }),
}

/** A listener on a free port that is closed after the test. Its process is not ready, for `reason`. */
export async function listener(
  options: Partial<Listening> & Partial<typeof sources> = {},
): Promise<Listener> {
  const { listen = '127.0.0.1:0', token = null, log = silentLog, ...changed } = options
  const opened = await openListener({ ...sources, ...changed }, { listen, token, log })
  onTestFinished(() => opened.close())
  return opened
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** The kernel drops connections beyond the listener's backlog, and repeats their packets for minutes. */
const answerMs = 20_000

/** Asks on a connection of its own, since a server may close an idle one at the moment of its reuse. */
export function ask(
  address: string,
  path: string,
  headers: OutgoingHttpHeaders = {},
  method = 'GET',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(`http://${address}${path}`, {
      agent: false,
      headers,
      method,
      signal: AbortSignal.timeout(answerMs),
    })
    asked.on('error', reject).on('response', (response) => {
      text(response).then(
        (body) =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: body.trim(),
          }),
        reject,
      )
    })
    asked.end()
  })
}

/** Sends bytes as they are; answers with all that came until the server closed the connection. */
export function send(address: string, bytes: string | Buffer): Promise<string> {
  const socket = connectTo(address)
  const closed = new Promise<string>((resolve) => {
    let received = ''
    socket.on('data', (data) => (received += data.toString('latin1')))
    socket.on('error', () => undefined).on('close', () => resolve(received))
  })
  socket.write(bytes)
  return closed
}

export function connectTo(address: string) {
  const [host = '', port = ''] = address.split(':')
  return connect(Number(port), host)
}

/** An IPv4 address of this machine that is not loopback; null if it has none. */
export function outsideAddress(): string | null {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? null
}
