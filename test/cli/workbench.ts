import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject, onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { freshName } from '../support/fresh.ts'
import type { Processes } from '../support/processes.ts'

/** The answer of a command line as a transcript: exit code, stdout, stderr, without the folder's path. */
export interface Transcript {
  code: number | null
  stdout: string
  stderr: string
  /** The JSON of stdout; null if it is no JSON. */
  json: unknown
}

export interface Workbench {
  readonly folder: string
  readonly install: string
  write(name: string, text: string, mode?: number): Promise<string>
  /** Writes a valid keyturn.yaml with `changes` merged into it; returns its path. */
  config(changes?: Record<string, unknown>): Promise<string>
  keyturn(...args: string[]): Promise<Transcript>
}

/** A folder with configuration files, in which the built command line runs. It is deleted after the test. */
export async function workbench(
  processes: Processes,
  env: NodeJS.ProcessEnv = {},
): Promise<Workbench> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-cli-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const install = freshName('cli')
  const write = async (name: string, text: string, mode = 0o600) => {
    const file = join(folder, name)
    await writeFile(file, text)
    await chmod(file, mode)
    return file
  }
  const base = {
    install,
    mongodb: { uri: inject('mongoUri'), database: install },
    temporal: { address: inject('temporalAddress') },
    kek: { provider: 'env' },
    collections: [{ name: 'certificates', envelopes: ['private_key'] }],
  }
  return {
    folder,
    install,
    write,
    config: (changes = {}) => write('keyturn.yaml', stringify({ ...base, ...changes })),
    keyturn: async (...args) => {
      const { code, stdout, stderr } = await processes.cli(args, { cwd: folder, env }).exit()
      const cut = (text: string) => text.replaceAll(`${folder}/`, '')
      return { code, stdout: cut(stdout), stderr: cut(stderr), json: jsonOf(stdout) }
    },
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
