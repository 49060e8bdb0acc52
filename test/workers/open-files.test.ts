import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { commandLine } from '../../devstack/worker-process.ts'
import { processes } from '../support/processes.ts'

const run = promisify(execFile)
const laneHost = fileURLToPath(
  new URL('../../dist/providers/pkcs11/pool/lane-host.js', import.meta.url),
)
const prlimit = await run('prlimit', ['--version']).catch(() => null)
if (prlimit === null) {
  console.error(
    'prlimit is missing, tests of open files are skipped; Debian: apt-get install util-linux',
  )
}

describe.skipIf(prlimit === null)('the limit of open files', () => {
  const spawned = processes()

  test.each(['40', '255'])('of %s: a worker ends with one line that names it', async (limit) => {
    const command = [`--nofile=${limit}:${limit}`, process.execPath, commandLine(), 'worker']
    const { code, stderr } = await spawned.spawn('prlimit', command).exit()
    expect({ code, stderr: stderr.split('\n') }).toEqual({
      code: 4,
      stderr: [
        `error: this process may open "${limit}" files only, and needs 256`,
        'hint: raise the limit of open files (ulimit -n, LimitNOFILE= of systemd)',
        '',
      ],
    })
  })

  test('reached when a lane is started: the lane is lost, and says why', async () => {
    const program = `
      const { execFileSync } = await import('node:child_process')
      const { LaneHost } = await import(${JSON.stringify(laneHost)})
      execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=12:20000'])
      const host = new LaneHost(process.env)
      await host.send(0, { op: 'close', last: true }, 3_000).catch((e) => console.log(e.name, e.message))`
    const { stdout } = await spawned
      .spawn(process.execPath, ['--input-type=module', '-e', program])
      .exit()
    expect(stdout).toMatch(/^LaneLost spawn \S+ EMFILE\n$/)
  })
})
