import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, inject, onTestFinished, test } from 'vitest'
import { openStore } from '../../store/store.ts'
import { workbench } from '../cli/workbench.ts'
import { hasTools } from '../support/tools.ts'
import { processes } from '../support/processes.ts'

const run = promisify(execFile)
const folder = fileURLToPath(new URL('../../deploy/systemd/', import.meta.url))
const units = ['keyturn-worker.service', 'keyturn-worker@.service'] as const
/** The exposure that docs/deploy/systemd.md states. */
const exposure = 1.6
const analyses = hasTools('systemd-analyze')
const notifies = hasTools('systemd-notify', 'python3')
const spawned = processes()

const text = async (name: string) => await readFile(join(folder, name), 'utf8')

test.skipIf(!analyses).each(units)(
  '%s is valid, and as closed as its page states',
  async (unit) => {
    const copy = await mkdtemp(join(tmpdir(), 'keyturn-units-'))
    onTestFinished(() => rm(copy, { recursive: true, force: true }))
    const file = join(copy, unit)
    // The program is not installed here.
    await writeFile(file, (await text(unit)).replace('/usr/bin/keyturn', process.execPath))
    const verified = await run('systemd-analyze', ['verify', '--man=no', file])
    expect(verified.stdout + verified.stderr).toBe('')
    const { stdout } = await run('systemd-analyze', [
      'security',
      '--offline=true',
      '--no-pager',
      file,
    ])
    expect(Number(/exposure level for .*: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThanOrEqual(
      exposure,
    )
    const page = await readFile(join(folder, '../../docs/deploy/systemd.md'), 'utf8')
    expect(page).toContain(`gives ${exposure} `)
  },
)

test('the two units differ only in the names of files', async () => {
  const [one, instance] = await Promise.all(units.map(text))
  const lines = (unit = '') => unit.split('\n').slice(1)
  const changed = lines(one).filter((line, index) => line !== lines(instance)[index])
  expect(lines(one)).toHaveLength(lines(instance).length)
  expect(changed.map((line) => line.replace(/[=:].*/, ''))).toEqual([
    'Description',
    'Environment',
    'EnvironmentFile',
    '# The PIN',
    '#LoadCredential',
    'StateDirectory',
    'WorkingDirectory',
  ])
})

/** Prints each datagram that it gets, as systemd would read it. */
const listener = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('listens', flush=True)
while True: print(s.recv(65536).decode(), flush=True)
`

test.skipIf(!notifies)(
  'a worker reports to systemd that it is up, degraded, at work, and that it stops',
  async () => {
    const env = { KEYTURN_ENCRYPTION_ENV_KEK_V1: randomBytes(32).toString('hex') }
    const bench = await workbench(spawned, env)
    onTestFinished(async () => {
      const store = await openStore({ uri: inject('mongoUri'), database: bench.install })
      await store.db.dropDatabase()
      await store.close()
    })
    const socket = join(bench.folder, 'notify')
    const systemd = spawned.spawn('python3', ['-c', listener, socket])
    await systemd.line('listens')
    const file = await bench.config({
      fleet: { heartbeat: '500ms', lease: '5s', expire: '10s' },
      worker: { listen: '127.0.0.1:0' },
    })
    const worker = spawned.worker('vm-a', file, {
      cwd: bench.folder,
      env: { ...env, NOTIFY_SOCKET: socket },
    })
    await systemd.line('READY=1')
    expect(await systemd.line(/^STATUS=/)).toContain('STATUS=degraded: setup-missing: ')
    for (const args of [['setup'], ['env-init', '--version', '1']]) {
      expect(await bench.keyturn(...args)).toMatchObject({ code: 0 })
    }
    await systemd.line('STATUS=works')
    await worker.stop()
    await systemd.line('STOPPING=1')
    expect(worker.stdout() + worker.stderr()).not.toContain('systemd was not told')
  },
)
