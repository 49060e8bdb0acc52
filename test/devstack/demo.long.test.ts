import { describe, expect, inject, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { processes } from '../support/processes.ts'
import { livingIn } from './processes-in.ts'

const demoMs = 180_000

describe('keyturn demo', () => {
  const run = processes()

  test(
    'prints its steps in sixty lines, and ends by itself with 0',
    { timeout: demoMs },
    async () => {
      const provider = inject('softhsm') === null ? 'env' : 'pkcs11'
      const demo = run.cli(['demo', '--records', '1200', '--provider', provider])
      const { code, stdout, stderr } = await demo.exit(demoMs)
      expect(code, stdout + stderr).toBe(0)
      expect(stderr).toBe('')
      const lines = stdout.trim().split('\n')
      expect(lines.length).toBeLessThanOrEqual(60)
      for (const line of [
        /SIGKILL to the worker of vm-[ab] \(pid \d+\)/,
        /vm-[ab] took over its ranges/,
        /no errors/,
        /v1 destroyed, v2 active/,
        /Temporal UI/,
      ]) {
        expect(stdout).toMatch(line)
      }
      expect(livingIn(`demo-${demo.pid.toString()}-`)).toEqual([])
    },
  )

  test('stops everything on Ctrl-C, and reports that it was interrupted', async () => {
    const demo = run.cli(['demo', '--records', '1200', '--provider', 'env'])
    await demo.line(/workers vm-a/, 60_000)
    const folder = `demo-${demo.pid.toString()}-`
    expect(livingIn(folder).length).toBeGreaterThanOrEqual(4)
    demo.process.signal('SIGINT')
    const { code, stderr } = await demo.exit(60_000)
    expect(code).toBe(7)
    expect(stderr).toContain('error: the demo was interrupted by SIGINT')
    await waitUntil('something still runs', () => livingIn(folder).length === 0, {
      withinMs: 60_000,
    })
  })
})
