import {
  Client,
  Connection,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
} from '@temporalio/client'
import { Retries } from './retries.ts'
import { temporalEndpoint, type TemporalEndpoint } from '../../config/temporal-endpoint.ts'
import { temporalFailure } from '../../config/temporal-failures.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'

/** How long a command waits for a connection to Temporal, in milliseconds. */
const connectTimeoutMs = 5000

/** How long the call may take that finds out why the connection failed, in milliseconds. */
const lookMs = 2000

/** The limits of a call and of a long poll, in milliseconds. The server ends a long poll within a minute. */
const callMs = 10_000
const pollMs = 70_000
const polls =
  /GetWorkflowExecutionHistory|PollWorkflowExecutionUpdate|UpdateWorkflowExecution|QueryWorkflow/

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number]

/** Sets a limit for each attempt of a call, since a server may hang. A limit that the caller has set stays. */
function limitAttempts(retries: Retries): Interceptor {
  return (options, next) => {
    retries.begin(options)
    const ms = polls.test(options.method_definition.path) ? pollMs : callMs
    // `next` returns an InterceptingCall; its class is in a package that is not a dependency.
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
    return next({
      ...options,
      deadline: options.deadline ?? Date.now() + ms,
    }) as ReturnType<Interceptor>
  }
}

/** An open connection to Temporal. `address` and `namespace` are for messages. */
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
  const endpoint = temporalEndpoint(config)
  const { address, namespace } = endpoint
  const retries = new Retries()
  const connection = await connect(endpoint, withinMs, retries)
  const link = { client: new Client({ connection, namespace }), address, namespace }
  try {
    return await use(link)
  } catch (error) {
    throw isTemporals(error) ? asTemporalError(error, endpoint) : error
  } finally {
    await retries.end()
    await connection.close()
  }
}

async function connect(
  endpoint: TemporalEndpoint,
  withinMs: number,
  retries: Retries,
): Promise<Connection> {
  const { address, security } = endpoint
  const retrying = makeGrpcRetryInterceptor(retries)
  try {
    return await Connection.connect({
      ...security,
      address,
      connectTimeout: withinMs,
      interceptors: [retrying, limitAttempts(retries)],
    })
  } catch (cause) {
    if (cause instanceof TypeError) throw temporalFailure(cause, endpoint)
    throw temporalFailure((await whyNot(endpoint, withinMs)) ?? cause, endpoint)
  }
}

/**
 * The error of one call without retries, since `Connection.connect` only reports that its time is over. Null when the
 * server has come up meanwhile.
 */
async function whyNot({ address, security }: TemporalEndpoint, withinMs: number): Promise<unknown> {
  let connection: Connection | undefined
  try {
    // A channel of its own: the shared one is in its backoff and no longer has the last error.
    const channelArgs = { 'grpc.use_local_subchannel_pool': 1 }
    const lazy = Connection.lazy({ ...security, address, channelArgs, interceptors: [] })
    connection = lazy
    const deadline = Date.now() + Math.min(withinMs, lookMs)
    await lazy.withDeadline(deadline, () => lazy.workflowService.getSystemInfo({}))
    return null
  } catch (error) {
    return error
  } finally {
    await connection?.close()
  }
}

function isTemporals(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof KeyturnError) return false
    if (isGrpcServiceError(current) || current.name.startsWith('Namespace')) return true
  }
  return false
}

function asTemporalError(error: unknown, endpoint: TemporalEndpoint): KeyturnError {
  const failure = temporalFailure(error, endpoint)
  const { code, message } = failure
  if (code === 'temporal-refused' && /workflow task/i.test(message))
    return taskFailed(message, error)
  if (failure.code !== 'temporal-refused' || !/search ?attribute/i.test(failure.message)) {
    return failure
  }
  return new KeyturnError('setup-missing', 'temporal does not know our search attributes', {
    hint: 'run: keyturn setup',
    cause: error,
  })
}

/** A worker polls but cannot run the workflow: it lacks the code, or its code does not fit the workflow's history. */
export function taskFailed(text: string, cause: unknown): KeyturnError {
  return new KeyturnError('no-worker', `no worker can run the workflow: ${text}`, {
    hint: 'a worker of another build polls, or the workflow fails there: its log says why; deploy one build on all hosts',
    cause,
  })
}
