import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
} from '@temporalio/client'
import { temporalEndpoint } from '../../config/temporal-endpoint.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'

/** How long a command waits for Temporal before it says that it is not there. */
const connectTimeoutMs = 5000

/** Fewer than the SDK's ten: a person waits, and followers have a patience of their own. */
const callAttempts = 4

/** An open road to Temporal. `address` and `namespace` are for messages. */
export interface TemporalLink {
  readonly client: Client
  readonly address: string
  readonly namespace: string
}

/**
 * Opens Temporal for `use` and closes it after. Address and namespace of the file win over the standard Temporal
 * environment configuration (TEMPORAL_*, temporal.toml), which brings TLS and API keys. Throws temporal-unreachable after
 * 5 s, and every failure of `use` that Temporal caused as temporal-unreachable or temporal-refused.
 */
export async function withTemporal<T>(
  config: Config,
  use: (link: TemporalLink) => Promise<T>,
  withinMs = connectTimeoutMs,
): Promise<T> {
  const { address, namespace, security } = temporalEndpoint(config)
  let connection: Connection
  try {
    connection = await Connection.connect({
      ...security,
      address,
      connectTimeout: withinMs,
      interceptors: [
        makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: callAttempts })),
      ],
    })
  } catch (cause) {
    throw unreachable(address, cause)
  }
  const link = { client: new Client({ connection, namespace }), address, namespace }
  try {
    return await use(link)
  } catch (error) {
    throw isGrpcCaused(error) ? asTemporalError(error, link) : error
  } finally {
    await connection.close()
  }
}

/** Whether the server could not be asked at all, so that the same question may be repeated. */
export function isTransient(error: unknown): boolean {
  const code = grpcCode(error)
  return code === grpc.unavailable || code === grpc.deadline || code === grpc.cancelled
}

/** gRPC status codes (grpc/doc/statuscodes.md) that need an answer of their own. */
const grpc = { cancelled: 1, deadline: 4, notFound: 5, unavailable: 14 } as const

function grpcCode(error: unknown): number | null {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (isGrpcServiceError(current)) return current.code
  }
  return null
}

function isGrpcCaused(error: unknown): boolean {
  if (error instanceof KeyturnError) return false
  return grpcCode(error) !== null || (error instanceof Error && error.name.startsWith('Namespace'))
}

function asTemporalError(error: unknown, link: TemporalLink): KeyturnError {
  if (isTransient(error)) return unreachable(link.address, error)
  const text = reason(error)
  if (/search ?attribute/i.test(text)) {
    return new KeyturnError('setup-missing', 'temporal does not know our search attributes', {
      hint: 'run: keyturn setup',
      cause: error,
    })
  }
  return new KeyturnError(
    'temporal-refused',
    `temporal at "${link.address}", namespace "${link.namespace}", refused: ${text}`,
    { hint: 'look at the namespace and at the permissions of this client', cause: error },
  )
}

function unreachable(address: string, cause: unknown): KeyturnError {
  return new KeyturnError('temporal-unreachable', `temporal does not answer at "${address}"`, {
    hint: 'look at temporal.address in keyturn.yaml, or TEMPORAL_ADDRESS; keyturn doctor tells more',
    cause,
  })
}

/** The innermost explanation, in one line. */
function reason(error: unknown): string {
  let text = String(error)
  for (let current = error; current instanceof Error; current = current.cause) {
    const { details } = current as { details?: unknown }
    text = typeof details === 'string' && details !== '' ? details : current.message
  }
  const line = (text.split('\n')[0] ?? '').replace(/\.$/, '')
  return line.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())
}
