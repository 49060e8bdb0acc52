import { Runtime } from '@temporalio/worker'
import type { LogLevel, LogMetadata } from '@temporalio/worker'
import { exitCodes, isErrorCode } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import { logOf } from '../observability/log.ts'
import type { Log } from '../observability/log.ts'

/**
 * Installs the SDK's runtime: pino as its logger, its metrics for Prometheus at `metricsAddress`, and no signal handlers,
 * since this process stops in its own order. Call it once in a process, before any other use of the SDK.
 */
export function installRuntime(log: Log, metricsAddress: string): void {
  const sdk = logOf(log, 'temporal')
  const levels = {
    TRACE: sdk.trace.bind(sdk),
    DEBUG: sdk.debug.bind(sdk),
    // The SDK's info lines are internal details, so they are logged at debug.
    INFO: sdk.debug.bind(sdk),
    WARN: sdk.warn.bind(sdk),
    ERROR: sdk.error.bind(sdk),
  } satisfies Record<LogLevel, unknown>
  const write = (level: LogLevel, message: string, meta?: LogMetadata) => {
    const { error } = (meta ?? {}) as { error?: unknown }
    const isEnd = message === workflowEnd
    const isExpected = isEnd || expectedWarning.test(message) || isRefusal(error)
    levels[level === 'WARN' && isExpected ? 'DEBUG' : level](plain(meta, isEnd), message)
  }
  Runtime.install({
    logger: {
      log: write,
      trace: (message, meta) => write('TRACE', message, meta),
      debug: (message, meta) => write('DEBUG', message, meta),
      info: (message, meta) => write('INFO', message, meta),
      warn: (message, meta) => write('WARN', message, meta),
      error: (message, meta) => write('ERROR', message, meta),
    },
    shutdownSignals: [],
    telemetryOptions: {
      logging: { forward: {}, filter: { core: 'WARN', other: 'ERROR' } },
      metrics: { prometheus: { bindAddress: metricsAddress } },
    },
  })
}

/** Warnings that every worker of activities or of workflows alone causes. */
const expectedWarning = /^No (workflows|activities|Nexus services) registered/

/**
 * Keyturn's workflows end with a coded error, which their starter gets, and the cause of a step was logged where it failed. An
 * unexpected error fails a task instead. The error comes from another thread, as text only.
 */
const workflowEnd = 'Workflow failed'

/** Whether it is a KeyturnError for a guard or a wrong input: the requester gets it as the answer. */
function isRefusal(error: unknown): boolean {
  const code = codeOf(error)
  return code !== null && (exitCodes[code] === 2 || exitCodes[code] === 3)
}

/** The code of a KeyturnError, also inside the SDK's wrappers. */
function codeOf(error: unknown): ErrorCode | null {
  for (let current = error; isObject(current); current = current['cause']) {
    if (isErrorCode(current['type'])) return current['type']
  }
  return null
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** The message of a KeyturnError is enough; the stack is logged only for unexpected errors. */
function errorFields(error: unknown, isEnd: boolean): object {
  const code = codeOf(error)
  if (!isObject(error)) return { err: error }
  if (isEnd) return { reason: error['message'] }
  return code === null || code === 'internal' ? { err: error } : { code, reason: error['message'] }
}

/** The part of the SDK's metadata that is of use in a worker's log. */
function plain(meta: LogMetadata | undefined, isEnd: boolean): object {
  if (meta === undefined) return {}
  const { workflowId, runId, activityType, taskQueue, attempt, error } = meta as Record<
    string,
    unknown
  >
  return { workflowId, runId, activityType, taskQueue, attempt, ...errorFields(error, isEnd) }
}
