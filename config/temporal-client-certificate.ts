import { X509Certificate } from 'node:crypto'
import type { TemporalEndpoint } from './temporal-endpoint.ts'

/**
 * The texts of grpc-js and tonic when a server ends a TLS connection: by an alert, or by closing it. With TLS 1.3 the client
 * is refused after its own handshake has ended, so the alert is often lost.
 */
export const refusedCertificate =
  /alert|BrokenPipe|broken pipe|^failed to connect$|ECONNRESET|ConnectionReset|UnexpectedEof|socket (closed|hang up|disconnected)|connection (reset|closed)/i

export const clientCertificateHint =
  'check TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH, and that the server accepts their CA; a process reads them when it starts'

/** What can be said from this side; the dates are compared with the clock of this host. */
export function clientCertificateReason(
  tls: NonNullable<TemporalEndpoint['security']['tls']>,
): string {
  const pair = typeof tls === 'object' ? tls.clientCertPair : undefined
  if (pair === undefined) return 'it ends the TLS connection: it may want a client certificate'
  const dates = datesOf(pair.crt)
  return dates === null
    ? 'it ends the TLS connection: it may not accept the client certificate'
    : `it ends the TLS connection: the client certificate ${dates}`
}

/** Null if it is valid now, or cannot be read. */
function datesOf(certificate: Uint8Array): string | null {
  try {
    const { validFrom, validTo } = new X509Certificate(certificate)
    const [from, to] = [new Date(validFrom), new Date(validTo)]
    if (to.getTime() < Date.now()) return `expired at ${to.toISOString()}`
    return from.getTime() > Date.now() ? `is valid only from ${from.toISOString()}` : null
  } catch {
    return null
  }
}
