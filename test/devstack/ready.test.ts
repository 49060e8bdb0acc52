import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { processes } from '../support/processes.ts'

/** A small checkout: the real script, and fakes for npm, the compiler and the fetcher that record their calls. */
describe('scripts/ready.mjs', () => {
  const run = processes()
  let root = ''

  const put = async (name: string, text: string) => {
    await mkdir(dirname(join(root, name)), { recursive: true })
    await writeFile(join(root, name), text)
  }
  const lock = (version: string) =>
    JSON.stringify({ packages: { '': {}, 'node_modules/a': { version } } })
  const note = (what: string) =>
    `require('node:fs').appendFileSync(${JSON.stringify(join(root, 'calls'))}, ${JSON.stringify(`${what}\n`)})`

  const calls = async () => {
    const text = await readFile(join(root, 'calls'), 'utf8').catch(() => '')
    await rm(join(root, 'calls'), { force: true })
    return text.split('\n').filter(Boolean)
  }
  const ready = () =>
    run
      .spawn(process.execPath, [join(root, 'scripts/ready.mjs')], {
        env: { PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}` },
      })
      .exit()

  beforeEach(async () => {
    await mkdir('.keyturn', { recursive: true })
    root = await mkdtemp(join(process.cwd(), '.keyturn', 'ready-'))
    await put('package.json', '{"type":"module"}')
    await put('package-lock.json', lock('1.0.0'))
    await put('source.ts', 'export {}')
    const compiler = `${note('tsc')}
      const fs = require('node:fs')
      if (fs.readFileSync('source.ts', 'utf8').includes('broken')) { console.log('source.ts(1,1): no'); process.exit(2) }
      fs.mkdirSync('dist/devstack', { recursive: true })
      fs.writeFileSync('dist/devstack/fetch-servers.js', \`
        import { appendFileSync } from 'node:fs'
        export const fetchServers = async () => {
          appendFileSync(\${JSON.stringify(${JSON.stringify(join(root, 'calls'))})}, 'fetch\\\\n')
          return { mongod: null, temporal: null, softhsm: null }
        }\`)`
    await put('stand-in/tsc', compiler)
    const npm = `#!${process.execPath}
      ${note('npm ci')}
      const fs = require('node:fs')
      fs.mkdirSync('node_modules/typescript/bin', { recursive: true })
      fs.writeFileSync('node_modules/typescript/package.json', '{"type":"commonjs"}')
      fs.copyFileSync('stand-in/tsc', 'node_modules/typescript/bin/tsc')
      fs.copyFileSync('package-lock.json', 'node_modules/.package-lock.json')`
    await put('bin/npm', npm)
    await put('bin/package.json', '{"type":"commonjs"}')
    await chmod(join(root, 'bin/npm'), 0o755)
    await mkdir(join(root, 'scripts'))
    await copyFile('scripts/ready.mjs', join(root, 'scripts/ready.mjs'))
    await put('scripts/bundle-workflows.mjs', '')
  })
  afterEach(() => rm(root, { recursive: true, force: true }))

  test('installs, builds and fetches the first time, and reports it', async () => {
    const { code, stderr } = await ready()
    expect(stderr).toContain('installing packages (npm ci) …')
    expect(stderr).toContain('building …')
    expect(code).toBe(0)
    expect(await calls()).toEqual(['npm ci', 'tsc', 'fetch'])
  })

  test('does nothing, and prints nothing, the second time', async () => {
    await ready()
    await calls()
    const { code, stdout, stderr } = await ready()
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: '' })
    expect(await calls()).toEqual([])
  })

  test('builds again when a source changed, and installs when the lock file did', async () => {
    await ready()
    await calls()
    await put('source.ts', 'export const changed = 1')
    await ready()
    expect(await calls()).toEqual(['tsc'])
    await put('package-lock.json', lock('1.0.1'))
    await ready()
    expect(await calls()).toEqual(['npm ci', 'tsc'])
  })

  test('does not reinstall packages that match the lock file', async () => {
    await ready()
    await rm(join(root, '.keyturn'), { recursive: true })
    await calls()
    await ready()
    expect(await calls()).toEqual(['tsc', 'fetch'])
  })

  test('ends with one coded line and a hint when the sources do not build', async () => {
    await put('source.ts', 'broken')
    const { code, stderr } = await ready()
    expect(code).toBe(4)
    expect(stderr).toContain('source.ts(1,1): no')
    expect(stderr).toContain('error: building ended with 2 (build-failed)')
    expect(stderr).toContain('hint: ')
  })
})
