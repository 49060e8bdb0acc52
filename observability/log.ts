import pino from 'pino'
import { prettyFactory } from 'pino-pretty'
import { redact, redacting } from './redact.ts'
import { stderrLines } from './stderr-lines.ts'

export type Log = pino.Logger

export interface LogOptions {
  /** A level of pino, or `silent`. */
  level: string
  /** `auto`: pretty when stderr is a terminal, JSON lines otherwise. */
  pretty: boolean | 'auto'
  /** Members of every line: node, role, … */
  base?: object
}

/**
 * A log on stderr, since stdout is for data. Lines are written synchronously, so that the last ones before a crash are
 * there. A log that cannot be written ends no process (stderr-lines.ts). Secrets are cut from all of it (redact.ts).
 * `destination` is for tests.
 */
export function createLog(options: LogOptions, destination?: pino.DestinationStream): Log {
  const log: Log = pino(
    {
      level: options.level,
      base: { ...options.base },
      timestamp: pino.stdTimeFunctions.isoTime,
      ...redacting,
    },
    destination ?? (isPretty(options) ? prettyStderr() : stderrLines()),
  )
  return redactingChildren(log)
}

/** pino's formatter of bindings does not apply to children. All children inherit this method, which redacts their bindings. */
function redactingChildren(log: Log): Log {
  const make = Reflect.get(log, 'child') as unknown as (
    this: Log,
    bindings: object,
    options?: object,
  ) => Log
  return Object.assign(log, {
    child(this: Log, bindings: object, options?: object): Log {
      return make.call(this, redact(bindings) as object, options)
    },
  })
}

/** A child logger of one part of the program: each of its lines has `part`. */
export function logOf(log: Log, part: string, members: Record<string, unknown> = {}): Log {
  return log.child({ part, ...members })
}

/** A log without output, for tests. */
export const silentLog: Log = pino({ level: 'silent' })

function isPretty({ pretty: wanted }: LogOptions): boolean {
  return wanted === 'auto' ? process.stderr.isTTY : wanted
}

function prettyStderr(): pino.DestinationStream {
  const stderr = stderrLines()
  const pretty = prettyFactory({
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,part',
    messageFormat: '{if part}{part}: {end}{msg}',
  })
  return { write: (line) => stderr.write(pretty(line)) }
}
