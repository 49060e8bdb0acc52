import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { KeyturnError } from '../contracts/errors.ts'
import { spawnSupervised } from './supervised-child.ts'
import type { SupervisedChild } from './supervised-child.ts'
import { lastLine } from './servers/run-command.ts'
import { waitUntil } from './wait-until.ts'

export interface WorkerProcess {
  readonly node: string
  readonly pid: number
  readonly logFile: string
  readonly process: SupervisedChild
}

const startMs = 60_000

/**
 * The built command line, whether this file runs from dist or, in tests, from the sources. Throws `server-missing`
 * when nothing was built.
 */
export function commandLine(): string {
  const candidates = ['../cli/main.js', '../dist/cli/main.js']
  const found = candidates
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path))
  if (found !== undefined) return found
  throw new KeyturnError('server-missing', 'the command line is not built', {
    hint: 'npm run build',
  })
}

/** Starts `keyturn worker` for a node and waits until its health page answers. */
export async function startWorkerProcess(options: {
  node: string
  configFile: string
  listenPort: number
  logFile: string
  env: NodeJS.ProcessEnv
  /** For Node itself. */
  flags?: readonly string[]
}): Promise<WorkerProcess> {
  const { node, logFile } = options
  const child = spawnSupervised({
    command: process.execPath,
    args: [
      ...(options.flags ?? []),
      commandLine(),
      'worker',
      '--node',
      node,
      '--config',
      options.configFile,
    ],
    env: options.env,
    logFile,
  })
  const page = `http://127.0.0.1:${options.listenPort.toString()}/healthz`
  const up = async () => {
    if (child.hasEnded()) throw await endedEarly(node, logFile)
    const answer = await fetch(page, { signal: AbortSignal.timeout(1_000) }).catch(() => null)
    return answer?.ok ?? false
  }
  try {
    await waitUntil('its health page answers', up, { withinMs: startMs })
  } catch (error) {
    await child.kill()
    if (error instanceof KeyturnError) throw error
    throw new KeyturnError('no-worker', `the worker of "${node}" does not come up`, {
      hint: `the end of its log, ${logFile}, is: ${lastLine(await readLog(logFile))}`,
      cause: error,
    })
  }
  return { node, pid: child.pid, logFile, process: child }
}

async function endedEarly(node: string, logFile: string): Promise<KeyturnError> {
  const log = await readLog(logFile)
  const error = log.split('\n').findLast((line) => line.startsWith('error:')) ?? lastLine(log)
  return new KeyturnError('no-worker', `the worker of "${node}" ended while starting: "${error}"`, {
    hint: `its log is ${logFile}`,
  })
}

async function readLog(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '')
}
