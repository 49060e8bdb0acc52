import { Runtime } from '@temporalio/worker'
import type { LogLevel, LogMetadata } from '@temporalio/worker'
import { exitCodes, isErrorCode } from '../contracts/errors.ts'
import type { ErrorCode } from '../contracts/errors.ts'
import { logOf } from '../observability/log.ts'
import type { Log } from '../observability/log.ts'

/**
 * Installs the SDK's runtime: pino as its logger, its metrics for Prometheus at `metricsAddress`, and no signal handlers
 * of its own, since this process stops in its own order. Once in a process, before anything else of the SDK.
 */
export function installRuntime(log: Log, metricsAddress: string): void {
  const sdk = logOf(log, 'temporal')
  const levels = {
    TRACE: sdk.trace.bind(sdk),
    DEBUG: sdk.debug.bind(sdk),
    // What the SDK tells at this level is its own business: a worker's log should read like its day.
    INFO: sdk.debug.bind(sdk),
    WARN: sdk.warn.bind(sdk),
    ERROR: sdk.error.bind(sdk),
  } satisfies Record<LogLevel, unknown>
  const write = (level: LogLevel, message: string, meta?: LogMetadata) => {
    const { error } = (meta ?? {}) as { error?: unknown }
    const isEnd = message === workflowEnd
    const isExpected = isEnd || ordinary.test(message) || isRefusal(error)
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

/** What each of our workers is: one for activities alone has no workflows. */
const ordinary = /^No (workflows|activities|Nexus services) registered/

/**
 * A workflow of ours ends with a coded error, which whoever started it is told, and a step's cause was told where it failed.
 * What nobody foresaw fails a task instead. The error comes from another thread, as a text alone.
 */
const workflowEnd = 'Workflow failed'

/** One of our errors that a guard or a wrong input caused: it is an answer, and whoever asked is told. */
function isRefusal(error: unknown): boolean {
  const code = codeOf(error)
  return code !== null && (exitCodes[code] === 2 || exitCodes[code] === 3)
}

/** Of one of our errors, inside of whatever the SDK has wrapped it in. */
function codeOf(error: unknown): ErrorCode | null {
  for (let current = error; isObject(current); current = current['cause']) {
    if (isErrorCode(current['type'])) return current['type']
  }
  return null
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

/** One of our errors says all in its message; a stack is for what nobody foresaw. */
function told(error: unknown, isEnd: boolean): object {
  const code = codeOf(error)
  if (!isObject(error)) return { err: error }
  if (isEnd) return { reason: error['message'] }
  return code === null || code === 'internal' ? { err: error } : { code, reason: error['message'] }
}

/** The SDK's metadata without what only it understands. */
function plain(meta: LogMetadata | undefined, isEnd: boolean): object {
  if (meta === undefined) return {}
  const { workflowId, runId, activityType, taskQueue, attempt, error } = meta as Record<
    string,
    unknown
  >
  return { workflowId, runId, activityType, taskQueue, attempt, ...told(error, isEnd) }
}
