import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { processes } from '../support/processes.ts'
import { workbench } from './workbench.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

describe('the output of a command', () => {
  const running = processes()

  test('a command ends without an error when its reader closes the pipe', async () => {
    const bench = await workbench(running)
    await bench.config()
    const script = `"${process.execPath}" "${main}" status --watch --json | head -n 2`
    const shell = spawn('/bin/bash', ['-o', 'pipefail', '-c', script], { cwd: bench.folder })
    let stdout = ''
    let stderr = ''
    shell.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    shell.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    await once(shell, 'close')
    const documents = stdout.trim().split('\n')
    expect(documents).toHaveLength(2)
    for (const line of documents) expect(JSON.parse(line)).toHaveProperty('envelopes')
    expect(stderr).toBe('')
  })

  test('without a terminal a question is refused with 2, before anything is changed', async () => {
    const bench = await workbench(running)
    const file = await bench.config()
    expect((await bench.keyturn('setup', '--config', file)).code).toBe(0)
    await bench.config({ fleet: { heartbeat: '10s', lease: '30s', expire: '60s' } })
    const asked = await bench.keyturn('setup')
    expect(asked.code).toBe(2)
    expect(asked.stderr).toContain('  fleet.heartbeat: 30s → 10s\n')
    expect(asked.stderr).toContain('hint: answer it beforehand with --yes\n')
    expect((await bench.keyturn('doctor')).stdout).toMatch(/fail +settings/)
    const changed = await bench.keyturn('setup', '--yes', '--json')
    expect(changed).toMatchObject({ code: 0, json: { settings: 'changed' } })
    expect(await bench.keyturn('setup', '--json')).toMatchObject({
      json: { settings: 'unchanged' },
    })
  })

  test('a pipe gets no colours', async () => {
    const bench = await workbench(running, { NO_COLOR: '', CI: '1' })
    await bench.config()
    const { stdout, stderr } = await bench.keyturn('doctor')
    expect(stdout + stderr).not.toContain('\u001b[')
  })

  test('doctor ends with 4 before setup, with a hint', async () => {
    const bench = await workbench(running)
    await bench.config()
    const { code, json } = await bench.keyturn('doctor', '--json')
    expect(code).toBe(4)
    expect(json).toMatchObject({ ok: false, error: { code: 'unhealthy' } })
    expect((json as { checks: unknown[] }).checks).toContainEqual({
      check: 'setup',
      state: 'fail',
      detail: 'it was not run for this database',
      cure: 'run: keyturn setup',
    })
  })

  test('commands report a missing setup, and status works without it', async () => {
    const bench = await workbench(running)
    await bench.config()
    const rotate = await bench.keyturn('rotate', '--to-version', '2', '--json')
    expect(rotate).toMatchObject({ code: 4, json: { error: { code: 'setup-missing' } } })
    const status = await bench.keyturn('status', '--json')
    expect(status).toMatchObject({
      code: 0,
      json: { provider: null, active: null, rotation: null },
    })
  })
})
