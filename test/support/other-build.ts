import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A second build of Keyturn, in its own folder inside the repository, so that it finds the same node_modules. */
export interface OtherBuild {
  readonly id: string
  /** Its command line. */
  readonly main: string
  /** Runs one of its commands; resolves with what it printed. */
  cli(config: string, env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<string>
  remove(): Promise<void>
}

/** Copies dist/, replaces text in workflows (by file name in dist/workflows), and bundles them. Throws where a text is missing. */
export async function otherBuild(
  changes: Record<string, readonly (readonly [from: string, to: string])[]>,
): Promise<OtherBuild> {
  await mkdir('.keyturn', { recursive: true })
  const folder = await mkdtemp(join(process.cwd(), '.keyturn', 'build-'))
  for (const part of ['dist', 'scripts', 'package.json']) {
    await cp(part, join(folder, part), { recursive: true })
  }
  for (const [name, replacements] of Object.entries(changes)) {
    const file = join(folder, 'dist', 'workflows', name)
    let text = await readFile(file, 'utf8')
    for (const [from, to] of replacements) {
      if (!text.includes(from)) throw new Error(`${name} has no "${from}"`)
      text = text.replace(from, to)
    }
    await writeFile(file, text)
  }
  await run(process.execPath, ['scripts/bundle-workflows.mjs'], { cwd: folder })
  const main = join(folder, 'dist', 'cli', 'main.js')
  const cli: OtherBuild['cli'] = async (config, env, ...args) => {
    const { stdout } = await run(
      process.execPath,
      [main, '--config', config, '--json', '--yes', ...args],
      { env: { ...process.env, ...env, NO_COLOR: '1' } },
    )
    return stdout
  }
  const { stdout } = await run(process.execPath, [main, 'version', '--json'])
  const { build: id } = JSON.parse(stdout) as { build: string }
  return { id, main, cli, remove: () => rm(folder, { recursive: true, force: true }) }
}
