import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { expect, test } from 'vitest'

/** The built log in its own process: stdout is for data, and the last line before a crash must be written. */
function run(pretty: string) {
  const root = path.join(import.meta.dirname, '..', '..')
  const program = `
    const { createLog, logOf } = await import(${JSON.stringify(path.join(root, 'dist/observability/log.js'))})
    const log = logOf(createLog({ level: 'info', pretty: ${pretty} }), 'sweep', { pin: 'hunter2' })
    process.stdout.write('data')
    log.info({ n: 1 }, 'going to mongodb://u:hunter2@h')
    process.kill(process.pid, 'SIGKILL')`
  const options = { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1' } } as const
  return spawnSync(process.execPath, ['--input-type=module', '-e', program], options)
}

test.each(['false', "'auto'"])('a log that is not pretty (%s) is JSON on stderr', (pretty) => {
  const { stdout, stderr } = run(pretty)
  expect(stdout).toBe('data')
  expect(JSON.parse(stderr)).toMatchObject({
    part: 'sweep',
    n: 1,
    pin: '[redacted]',
    msg: 'going to mongodb://[redacted]@h',
  })
})

test('a pretty one is a readable line on stderr', () => {
  const { stdout, stderr } = run('true')
  expect(stdout).toBe('data')
  expect(stderr).toMatch(
    /^\[\d\d:\d\d:\d\d\.\d+\] .*INFO.*: sweep: going to mongodb:\/\/\[redacted\]@h/,
  )
  expect(stderr).not.toContain('hunter2')
})
