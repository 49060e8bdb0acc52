import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
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

// Linux's device that is always full.
test.skipIf(!existsSync('/dev/full'))(
  'a log without room ends no process, and its lines are counted',
  () => {
    const module = (name: string) =>
      JSON.stringify(path.join(import.meta.dirname, '..', '..', 'dist/observability', `${name}.js`))
    const program = `
    const { createLog } = await import(${module('log')})
    const { createMetrics } = await import(${module('metrics')})
    for (const pretty of [false, true]) createLog({ level: 'info', pretty }).info('lost')
    const page = await createMetrics({ install: 'i', node: 'n' }).render()
    console.log(/keyturn_log_lines_lost_total\\{[^}]*\\} \\d+/.exec(page)[0])`
    const full = openSync('/dev/full', 'w')
    try {
      const { stdout, status } = spawnSync(
        process.execPath,
        ['--input-type=module', '-e', program],
        {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', full],
        },
      )
      expect({ stdout, status }).toEqual({
        status: 0,
        stdout: 'keyturn_log_lines_lost_total{install="i",node="n"} 2\n',
      })
    } finally {
      closeSync(full)
    }
  },
)
