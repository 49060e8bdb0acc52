import { randomBytes } from 'node:crypto'
import { expect, inject, onTestFinished, test } from 'vitest'
import { openStore } from '../../store/store.ts'
import { processes } from '../support/processes.ts'
import { workbench } from './workbench.ts'

const running = processes()
const key = (version: number) => ({
  [`KEYTURN_ENCRYPTION_ENV_KEK_V${version}`]: randomBytes(32).toString('hex'),
})

test('a worker logs before setup that it is degraded, and logs a refusal in one line', async () => {
  const first = key(1)
  const env = { ...first, ...key(2) }
  const bench = await workbench(running, env)
  onTestFinished(async () => {
    const store = await openStore({ uri: inject('mongoUri'), database: bench.install })
    await store.db.dropDatabase()
    await store.close()
  })
  const file = await bench.config({
    fleet: { heartbeat: '500ms', lease: '5s', expire: '10s' },
    worker: { listen: '127.0.0.1:0' },
    log: { level: 'debug', pretty: false },
  })
  const worker = running.worker('vm-a', file, { cwd: bench.folder, env })
  expect(await worker.line('worker is up')).toContain('"degraded":"setup-missing"')
  expect(await bench.keyturn('setup')).toMatchObject({ code: 0 })
  await worker.line('polls again')
  for (const version of ['1', '2']) {
    expect(await bench.keyturn('env-init', '--version', version)).toMatchObject({ code: 0 })
  }

  const lacking = running.worker('vm-b', file, { cwd: bench.folder, env: first })
  await lacking.line('worker is up')
  const refusals = [
    ['env-init', '--version', '3'],
    ['verify', '--target', '2'],
    ['rotate', '--from-version', '1', '--to-version', '2'],
    ['remove', '--version', '1'],
  ]
  const ends = await Promise.all(refusals.map((args) => bench.keyturn(...args, '--yes', '--json')))
  for (const [index, { code, stdout }] of ends.entries()) {
    expect({ args: refusals[index], code, stdout }).toMatchObject({ code: 3 })
  }
  for (const log of [worker.stderr(), lacking.stderr()]) {
    const lines = log
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines.filter(({ part, level }) => part === 'temporal' && Number(level) >= 40)).toEqual(
      [],
    )
    expect(log).not.toMatch(/"stack"|\\n {4}at /)
  }
})
