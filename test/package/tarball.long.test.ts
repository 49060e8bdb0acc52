import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')

interface Packed {
  filename: string
  files: { path: string }[]
}

describe('the package as npm packs it', () => {
  let folder: string
  let files: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyturn-package-'))
    // The tests' set-up has built dist/, as `prepack` does for a release.
    const { stdout } = await run(
      'npm',
      ['pack', '--json', '--ignore-scripts', '--pack-destination', folder],
      { cwd: root },
    )
    const [packed] = JSON.parse(stdout) as Packed[]
    files = packed!.files.map(({ path }) => path)
    await run('tar', ['-xzf', join(folder, packed!.filename), '-C', folder])
    await linkDependencies(join(folder, 'package', 'node_modules'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  test('holds the program, its licence and its documentation, and nothing that only developers use', () => {
    for (const path of ['LICENSE', 'README.md', 'docs/commands.md', 'dist/workflow-bundle.js']) {
      expect(files).toContain(path)
    }
    const others = files.filter((path) => /^(test|bench|scripts|dist\/(bench|test))\//.test(path))
    expect(others).toEqual([])
  })

  test('every file that package.json names is in it', async () => {
    const text = await readFile(join(folder, 'package', 'package.json'), 'utf8')
    const { bin, exports, imports } = JSON.parse(text) as Record<string, Record<string, unknown>>
    const named = [bin, exports, imports].flatMap((part) =>
      Object.values(part ?? {}).flatMap((entry) =>
        typeof entry === 'string' ? [entry] : Object.values(entry as Record<string, string>),
      ),
    )
    expect(named.length).toBeGreaterThan(3)
    expect(files).toEqual(expect.arrayContaining(named.map((path) => path.replace(/^\.\//, ''))))
  })

  test('runs the demo', async () => {
    const { stdout } = await run(
      process.execPath,
      ['dist/cli/main.js', 'demo', '--provider', 'env', '--records', '500'],
      { cwd: join(folder, 'package') },
    )
    expect(stdout).toContain('v1 destroyed, v2 active; ')
    expect(stdout).toContain('the demo is complete')
  })
})

/** Links only the packages that the program depends on, so that it cannot use a developer's package. */
async function linkDependencies(into: string): Promise<void> {
  const { stdout } = await run('npm', ['ls', '--all', '--omit=dev', '--parseable'], { cwd: root })
  const prefix = join(root, 'node_modules')
  for (const path of stdout.trim().split('\n')) {
    const name = path.startsWith(prefix) ? path.slice(prefix.length + 1) : ''
    // A nested package is linked with its parent.
    if (name === '' || name.includes('/node_modules/')) continue
    await mkdir(dirname(join(into, name)), { recursive: true })
    await symlink(path, join(into, name))
  }
}
