import {
  Client,
  Connection,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
} from '@temporalio/client'
import { Retries } from './retries.ts'
import { temporalEndpoint, type TemporalEndpoint } from '../../config/temporal-endpoint.ts'
import { isTemporalAway, temporalFailure } from '../../config/temporal-failures.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'

/** How long a command waits for Temporal before it says that it is not there. */
const connectTimeoutMs = 5000

/** How long the look takes that finds out why it is not there. */
const lookMs = 2000

/** One call to Temporal, in milliseconds; one that waits at the server for news comes back within a minute by itself. */
const callMs = 10_000
const pollMs = 70_000
const polls =
  /GetWorkflowExecutionHistory|PollWorkflowExecutionUpdate|UpdateWorkflowExecution|QueryWorkflow/

/** A server that hangs answers nothing: each try of a call has its limit, unless the caller has set one. */
const withLimit: NonNullable<ConnectionOptions['interceptors']>[number] = (options, next) => {
  const ms = polls.test(options.method_definition.path) ? pollMs : callMs
  // What `next` answers with is one, by another name: the class is of a package that is not ours to import.
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
  return next({ ...options, deadline: options.deadline ?? Date.now() + ms }) as InterceptedCall
}

type InterceptedCall = ReturnType<NonNullable<ConnectionOptions['interceptors']>[number]>

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

/** Whether the server could not be asked, or not now, so that the same question may be repeated. */
export const isTransient = isTemporalAway

async function connect(
  endpoint: TemporalEndpoint,
  withinMs: number,
  retries: Retries,
): Promise<Connection> {
  const { address, security } = endpoint
  const retrying = makeGrpcRetryInterceptor(retries)
  try {
    return await Connection.connect({
      ...{ ...security, address },
      connectTimeout: withinMs,
      interceptors: [retrying, withLimit],
    })
  } catch (cause) {
    if (cause instanceof TypeError) throw temporalFailure(cause, endpoint)
    throw temporalFailure((await whyNot(endpoint, withinMs)) ?? cause, endpoint)
  }
}

/**
 * What one call without retries fails with. A connection that is waited for tells only that its time is over; null when
 * the server has come up meanwhile.
 */
async function whyNot({ address, security }: TemporalEndpoint, withinMs: number): Promise<unknown> {
  let connection: Connection | undefined
  try {
    // A channel of its own: one that is shared is in its backoff, and has forgotten the last error.
    const channelArgs = { 'grpc.use_local_subchannel_pool': 1 }
    const asked = Connection.lazy({ ...security, address, channelArgs, interceptors: [] })
    connection = asked
    const deadline = Date.now() + Math.min(withinMs, lookMs)
    await asked.withDeadline(deadline, () => asked.workflowService.getSystemInfo({}))
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

/** A worker polls, and cannot run the workflow: it lacks its code, or has another that does not fit its history. */
export function taskFailed(text: string, cause: unknown): KeyturnError {
  return new KeyturnError('no-worker', `no worker can run the workflow: ${text}`, {
    hint: 'a worker of another build polls, or the workflow fails there: its log says why; deploy one build on all hosts',
    cause,
  })
}
