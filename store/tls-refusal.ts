import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { MongoClient } from 'mongodb'
import { KeyturnError } from '../contracts/errors.ts'

const closed = /connection .* closed|ECONNRESET|EPIPE|socket hang up|alert/i

/**
 * A mongod that does not accept a client certificate, or misses it, closes the connection without a reason. If the address
 * has tls=true, the error gets what can be said from this side: no certificate, or its dates. Other errors are returned
 * unchanged.
 */
export function withTlsReason(error: unknown, { options }: MongoClient): unknown {
  if (!(error instanceof KeyturnError) || error.code !== 'mongodb-unreachable') return error
  if (!options.tls || !closed.test(error.message)) return error
  const { message, cause } = error
  const file = options.tlsCertificateKeyFile
  if (file === undefined) {
    return new KeyturnError(error.code, message, { hint: hints.missing, cause })
  }
  const outOfDate = datesOf(file)
  const text =
    outOfDate === null ? message : `${message}; "tlsCertificateKeyFile=${file}" ${outOfDate}`
  return new KeyturnError(error.code, text, {
    hint: outOfDate === null ? hints.refused : hints.outOfDate,
    cause,
  })
}

const hints = {
  missing:
    'does the server want a client certificate? name the file with it and its key: tlsCertificateKeyFile',
  outOfDate: 'replace the client certificate, then restart this process',
  refused:
    'does the server accept the CA of tlsCertificateKeyFile? the log of mongod says why it closes the connection',
}

/** By the clock of this host; null if it is valid, or cannot be read. */
function datesOf(file: string): string | null {
  try {
    const { validFrom, validTo } = new X509Certificate(readFileSync(file))
    const [from, to] = [new Date(validFrom), new Date(validTo)]
    if (to.getTime() < Date.now()) return `expired at ${to.toISOString()}`
    return from.getTime() > Date.now() ? `is valid only from ${from.toISOString()}` : null
  } catch {
    return null
  }
}
