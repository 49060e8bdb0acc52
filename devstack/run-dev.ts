import { mkdir, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { ProviderName } from '../contracts/kek.ts'
import { aborted, orAborted } from './interruption.ts'
import { keepFolder } from './stack-folder.ts'
import { startStack } from './stack.ts'
import type { Stack } from './stack.ts'
import type { Print } from './servers/progress.ts'
import { ensureSoftHsm } from './servers/softhsm.ts'
import { fillStack } from './fill-stack.ts'
import { commandLine } from './worker-process.ts'
import type { WorkerProcess } from './worker-process.ts'

export interface DevOptions {
  /** Kept when it ends, and taken up again by the next start; default `.keyturn/dev`. */
  readonly data: string
  readonly nodes: number
  readonly provider: ProviderName
  /** Sealed under version 1 where nothing is sealed yet; 0: the stack stays empty. */
  readonly records: number
  readonly signal: AbortSignal
  readonly print: Print
}

/** What a person needs to use the stack from another terminal. */
export interface DevAddresses {
  readonly mongodb: string
  readonly temporal: string
  readonly temporalUi: string | null
  readonly config: string
  /** A shell file that sets what the command line needs. */
  readonly env: string
  readonly workers: { readonly node: string; readonly pid: number; readonly log: string }[]
}

/** Runs the embedded stack with its workers until the signal. `ready` is called once, when everything is up. */
export async function runDev(
  options: DevOptions,
  ready: (addresses: DevAddresses) => void,
): Promise<void> {
  const { print, signal, provider } = options
  const folder = resolve(options.data)
  const nodes = Array.from({ length: options.nodes }, (_, index) => nodeName(index))
  if (provider === 'pkcs11') await ensureSoftHsm(print)
  const stack = await startStack({ folder, keep: true, provider, nodes, print })
  try {
    await keepFolder(folder)
    const starts = Promise.all(nodes.map((node) => stack.startWorker(node)))
    const workers = await orAborted(signal, starts)
    for (const worker of workers) reportEnd(worker, signal, print)
    if (options.records > 0) await orAborted(signal, fillStack(stack, options.records, print))
    ready({
      mongodb: stack.mongoUri,
      temporal: stack.temporalAddress,
      temporalUi: stack.temporalUi,
      config: stack.configPath,
      env: await writeShellFile(stack),
      workers: workers.map(({ node, pid, logFile }) => ({ node, pid, log: logFile })),
    })
    await aborted(signal)
  } finally {
    print('stopping …')
    await stack.stop()
  }
}

/** vm-a, vm-b, …, vm-z, vm-aa, … */
function nodeName(index: number): string {
  const letter = (number: number) => String.fromCharCode('a'.charCodeAt(0) + number)
  const name = index < 26 ? letter(index) : letter(Math.floor(index / 26) - 1) + letter(index % 26)
  return `vm-${name}`
}

function reportEnd(
  { node, process, logFile }: WorkerProcess,
  stopping: AbortSignal,
  print: Print,
): void {
  void process.ended.then(({ code, signal }) => {
    if (stopping.aborted) return
    print(`the worker of ${node} ended with ${(code ?? signal ?? '?').toString()}: ${logFile}`)
  })
}

/**
 * Writes the file that another terminal sources: the keys' variables, the configuration, and `keyturn` on the PATH, which a
 * checkout does not have. Mode 0600: with the `env` provider the keys are in it.
 */
async function writeShellFile(stack: Stack): Promise<string> {
  const bin = join(stack.folder, 'bin')
  await mkdir(bin, { recursive: true })
  const command = [process.execPath, commandLine()].map(quoted).join(' ')
  await writeFile(join(bin, 'keyturn'), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 })
  const file = join(stack.folder, 'env')
  const variables = { ...stack.keyEnv, KEYTURN_CONFIG: stack.configPath }
  const lines = Object.entries(variables).map(
    ([name, value]) => `export ${name}=${quoted(value)}\n`,
  )
  const path = `export PATH=${quoted(bin)}:"$PATH"\n`
  await writeFile(file, [...lines, path].join(''), { mode: 0o600 })
  return file
}

/** For a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
