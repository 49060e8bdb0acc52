import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject, onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { freshName } from '../support/fresh.ts'
import type { Processes } from '../support/processes.ts'

/** What a command line answered, as a transcript: exit code, stdout, stderr, with the folder cut out. */
export interface Transcript {
  code: number | null
  stdout: string
  stderr: string
  /** Of stdout, null when it is no JSON. */
  json: unknown
}

export interface Workbench {
  readonly folder: string
  readonly install: string
  write(name: string, text: string, mode?: number): Promise<string>
  /** A valid keyturn.yaml with `changes` laid over it, member by member; returns its path. */
  config(changes?: Record<string, unknown>): Promise<string>
  keyturn(...args: string[]): Promise<Transcript>
}

/** A folder with configuration files, and the built command line run in it. It is gone after the test. */
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
