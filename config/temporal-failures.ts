import { KeyturnError, type ErrorCode } from '../contracts/errors.ts'
import { innermost, inOneLine, reasonOf } from '../contracts/reasons.ts'
import {
  clientCertificateHint,
  clientCertificateReason,
  refusedCertificate,
} from './temporal-client-certificate.ts'
import type { TemporalEndpoint } from './temporal-endpoint.ts'

/** gRPC status codes that are handled individually (grpc/doc/statuscodes.md). */
const grpc = {
  cancelled: 1,
  deadline: 4,
  notFound: 5,
  permissionDenied: 7,
  exhausted: 8,
  unimplemented: 12,
  unavailable: 14,
  unauthenticated: 16,
} as const

type Place = Pick<TemporalEndpoint, 'address'> & Partial<TemporalEndpoint>

/**
 * Maps an error of Temporal's SDK to a KeyturnError: from grpc-js in clients, from the Rust core in workers. The message
 * has the innermost cause and never an API key. Hints name no command, because doctor shows them too.
 */
export function temporalFailure(error: unknown, place: Place): KeyturnError {
  if (error instanceof KeyturnError) return error
  const { text, status } = causeOf(error)
  const reason = withoutKey(inOneLine(text), place)
  const fail = (code: ErrorCode, message: string, hint: string) =>
    new KeyturnError(code, message, { hint, cause: error })
  const where = `temporal at "${place.address}"`
  if (status !== null && !isAway(status) && !noGrpc.test(reason)) {
    const inNamespace = place.namespace === undefined ? '' : `, namespace "${place.namespace}",`
    const { verb, hint } = refusalOf(status, reason)
    return fail('temporal-refused', `${where}${inNamespace} ${verb}: ${reason}`, hint)
  }
  if (error instanceof TypeError || error instanceof RangeError) {
    return fail(
      'config-invalid',
      `the address "${place.address}" of temporal cannot be used: ${reason}`,
      addressHint,
    )
  }
  if (place.security?.tls && refusedCertificate.test(reason)) {
    const text = clientCertificateReason(place.security.tls)
    return fail(
      'temporal-unreachable',
      `temporal does not answer at "${place.address}": ${text}`,
      clientCertificateHint,
    )
  }
  const isLate = status === grpc.deadline
  const known =
    connectionFailures.find(({ pattern }) => pattern.test(reason)) ?? (isLate ? slow : undefined)
  return fail(
    'temporal-unreachable',
    `temporal does not answer at "${place.address}": ${known?.explain?.(reason) ?? reason}`,
    known?.hint ?? addressHint,
  )
}

const addressHint =
  'check that it runs, and that temporal.address in keyturn.yaml (or TEMPORAL_ADDRESS) is host:port of its front end'

interface Refusal {
  /** What the server does, after its address and namespace. */
  verb: string
  hint: string
}

const refusals: Readonly<Record<number, Refusal>> = {
  [grpc.notFound]: {
    verb: 'does not have this namespace',
    hint: 'check temporal.namespace (or TEMPORAL_NAMESPACE); make one with: temporal operator namespace create --namespace NAME',
  },
  [grpc.permissionDenied]: {
    verb: 'does not permit this call',
    hint: 'give this client, by its API key or certificate, write access to the namespace',
  },
  [grpc.exhausted]: {
    verb: 'has reached its limit',
    hint: 'too many requests or too much data for this namespace: try again later, or have its limits raised; a database of Temporal that cannot write (a full disk) shows itself so too: look at the log of the server',
  },
  [grpc.unimplemented]: {
    verb: 'does not support this call',
    hint: 'check that it is a Temporal server of a supported version, not a proxy or another gRPC server',
  },
  [grpc.unauthenticated]: {
    verb: 'does not accept this client',
    hint: 'check the API key (TEMPORAL_API_KEY) or the client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH), and its expiry',
  },
}

function refusalOf(status: number, reason: string): Refusal {
  const other = { verb: 'refused', hint: 'look at the log of the Temporal server' }
  // A workflow or Schedule was not found, unless the text names the namespace.
  if (status === grpc.notFound && !/namespace/i.test(reason)) return other
  return refusals[status] ?? other
}

/** Statuses that mean that the server was not reached. */
function isAway(status: number): boolean {
  return status === grpc.unavailable || status === grpc.deadline || status === grpc.cancelled
}

/** A web server or a proxy answered. */
const noGrpc = /protocol error|http2 error|FRAME_SIZE|HTTP status|content-type/i

interface ConnectionFailure {
  pattern: RegExp
  /** Our own wording, where the SDK's text does not name the reason. */
  explain?: (text: string) => string
  hint: string
}

const slow: ConnectionFailure = {
  pattern: /deadline|timed? ?out|TimeoutExpired|Timeout expired/i,
  explain: () => 'it accepts or drops the connection and does not answer',
  hint: 'check whether a firewall is in between, whether the server is busy, and whether it is Temporal',
}

/** Connection failures, by the texts of grpc-js (with OpenSSL) and of tonic (with rustls). */
const connectionFailures: readonly ConnectionFailure[] = [
  {
    pattern: /wrong version number|InvalidContentType|packet length too long/i,
    explain: () => 'it does not speak TLS',
    hint: 'turn TLS off in the Temporal environment (TEMPORAL_TLS=false; an API key turns it on), or use the port that speaks TLS',
  },
  {
    pattern: /InvalidCertificate|certificate|UnknownIssuer|altname/i,
    explain: (text) => {
      const kind = /InvalidCertificate\((\w+)/.exec(text)?.[1]
      return kind === undefined ? text : `its certificate is not accepted (${kind})`
    },
    hint: 'set TEMPORAL_TLS_SERVER_CA_CERT_PATH to its CA, and TEMPORAL_TLS_SERVER_NAME to its name',
  },
  {
    pattern: /PrivateKeyParse|PEM routines|no start line|DECODER|CertificateParse/i,
    explain: () => 'the client certificate or its key cannot be read as PEM',
    hint: 'check TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH',
  },
  {
    pattern: /dns error|name resolution failed|ENOTFOUND|EAI_AGAIN/i,
    explain: (text) => /error: "([^"]+)"/.exec(text)?.[1] ?? text,
    hint: 'check the host in temporal.address (or TEMPORAL_ADDRESS), and the DNS of this host',
  },
  {
    pattern: /shard status unknown|database or disk is full/i,
    explain: (text) => `it cannot use its own database (${text})`,
    hint: 'look at the log of the Temporal server, and whether the disk of its database is full',
  },
  {
    pattern: /ConnectionRefused|ECONNREFUSED/,
    explain: () => 'connection refused',
    hint: addressHint,
  },
  {
    pattern: noGrpc,
    explain: () => 'the server there does not speak gRPC',
    hint: 'use the port of the front end (7233 by default), not that of the web UI or of a proxy for HTTP/1',
  },
  {
    pattern:
      /BrokenPipe|broken pipe|^failed to connect$|ECONNRESET|socket closed|connection (reset|closed)/i,
    explain: () => 'it closes the connection at once',
    hint: 'check whether it requires TLS (TEMPORAL_TLS=true, or an API key), and that it is Temporal',
  },
  slow,
]

/** tonic's names of the statuses, and their numbers. */
const tonicStatuses: readonly (readonly [RegExp, number])[] = [
  [/code: (NotFound|'Some requested entity was not found')/, grpc.notFound],
  [/code: (PermissionDenied|'The caller does not have permission)/, grpc.permissionDenied],
  [/code: (ResourceExhausted|'Some resource has been exhausted')/, grpc.exhausted],
  [/code: (Unimplemented|'Operation is not implemented)/, grpc.unimplemented],
  [/code: (Unauthenticated|'The request does not have valid auth)/, grpc.unauthenticated],
]

/** grpc-js has status and details as members; the core puts both into one text. */
function causeOf(error: unknown): { text: string; status: number | null } {
  const cause = innermost(error)
  const { code, details } = (cause ?? {}) as { code?: unknown; details?: unknown }
  if (typeof code === 'number' && typeof details === 'string') {
    return { text: connectionError(details === '' ? reasonOf(cause) : details), status: code }
  }
  const text = reasonOf(cause)
  const status = tonicStatuses.find(([pattern]) => pattern.test(text))?.[1] ?? null
  const message = /message: "((?:[^"\\]|\\.)*)"/.exec(text)?.[1]
  const isNamespace = cause instanceof Error && cause.name.startsWith('NamespaceNotFound')
  return {
    text: status === null ? text : (message ?? text),
    status: isNamespace ? grpc.notFound : status,
  }
}

/** grpc-js: "No connection established. Last error: X (time). Resolution note: …". */
function connectionError(details: string): string {
  const inner =
    /Last error: (?:\w*Error(?: \[\w+\])?: )?([\s\S]*?)(?: \(\d{4}-[^)]*\))?\.? Resolution note:/.exec(
      details,
    )?.[1]
  return inner ?? details
}

function withoutKey(text: string, { security }: Place): string {
  const key = security?.apiKey
  return typeof key === 'string' && key !== '' ? text.replaceAll(key, '[redacted]') : text
}

/** Whether the server was not reached or is overloaded, so that the same request may be repeated. */
export function isTemporalAway(error: unknown): boolean {
  const { status } = causeOf(error)
  return status !== null && (isAway(status) || status === grpc.exhausted)
}
