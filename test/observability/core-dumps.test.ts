import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const module = fileURLToPath(new URL('../../dist/observability/core-dumps.js', import.meta.url))
/** Elsewhere the kernel writes dumps to another place, or pipes them into a program. */
const isWrittenHere = (() => {
  try {
    return readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim() === 'core'
  } catch {
    return false
  }
})()

/** The core dump of a process that has the secret in its environment and in its heap. */
function dumpOf(secret: string, prelude: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-core-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const script = `${prelude}; const held = Buffer.from(process.env.SECRET); process.abort(held)`
  const command = 'ulimit -c unlimited && exec "$@"'
  const node = [process.execPath, '--input-type=module', '--eval', script]
  spawnSync('/bin/sh', ['-c', command, 'sh', ...node], {
    cwd: folder,
    env: { ...process.env, SECRET: secret },
  })
  const name = readdirSync(folder).find((one) => one.startsWith('core'))
  if (name === undefined) throw new Error('the kernel wrote no core dump')
  return readFileSync(join(folder, name))
}

test.skipIf(!isWrittenHere)('a core dump has no memory, neither heap nor environment', () => {
  const secret = randomBytes(24).toString('hex')
  expect(dumpOf(secret, '0').includes(secret)).toBe(true)
  const prelude = `(await import(${JSON.stringify(module)})).keepMemoryOutOfCoreDumps()`
  const dump = dumpOf(secret, prelude)
  expect(dump.includes(secret)).toBe(false)
  expect(dump.length).toBeGreaterThan(0)
})
