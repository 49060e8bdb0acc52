import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { spawnSupervised } from '../../devstack/supervised-child.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { processes } from '../support/processes.ts'

const module = fileURLToPath(new URL('../../dist/devstack/supervised-child.js', import.meta.url))

/** A parent that starts a supervised command, prints its pid, and keeps running. */
const parent = (command: string) => `
  const { spawnSupervised } = await import(${JSON.stringify(module)})
  const child = spawnSupervised({ command: '/bin/sh', args: ['-c', ${JSON.stringify(command)}] })
  console.log('child=' + child.pid)
  setInterval(() => undefined, 1000)`

/** Processes of a session that still run; zombies, which init has yet to collect, do not. */
function living(session: number): string[] {
  try {
    return execFileSync('ps', ['-o', 'stat=,pid=,args=', '-s', session.toString()], {
      encoding: 'utf8',
    })
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('Z'))
  } catch {
    return []
  }
}

const gone = (session: number) =>
  waitUntil(
    `session ${session.toString()} still runs`,
    () => living(session).length === 0 || null,
    { withinMs: 60_000 },
  )

describe('a supervised child', () => {
  const run = processes()

  test.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
    'ends with everything it started when its parent gets %s',
    async (signal) => {
      const owner = run.spawn(process.execPath, [
        '--input-type=module',
        '-e',
        parent('sleep 1000 & sleep 1000; true'),
      ])
      const session = Number((await owner.line(/^child=/)).slice('child='.length))
      expect(living(session).length).toBeGreaterThan(1)
      owner.process.signal(signal)
      await owner.exit()
      await gone(session)
    },
  )

  test('is killed when it ignores SIGTERM', async () => {
    const stubborn = parent("trap '' TERM; while :; do sleep 1; done")
    const owner = run.spawn(process.execPath, ['--input-type=module', '-e', stubborn])
    const session = Number((await owner.line(/^child=/)).slice('child='.length))
    await owner.kill()
    await gone(session)
  })

  test('reports its exit code, and leaves no process of its session behind', async () => {
    const child = spawnSupervised({ command: '/bin/sh', args: ['-c', 'sleep 1000 & exit 7'] })
    expect(await child.ended).toEqual({ code: 7, signal: null })
    await gone(child.pid)
  })

  test('runs under the reported pid', async () => {
    const child = spawnSupervised({ command: '/bin/sh', args: ['-c', 'echo $$; sleep 1000'] })
    const pid = await new Promise((resolve) =>
      child.child.stdout?.once('data', (chunk: Buffer) => {
        resolve(Number(chunk.toString()))
      }),
    )
    expect(pid).toBe(child.pid)
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' })
  })
})
