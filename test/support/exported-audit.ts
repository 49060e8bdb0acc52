import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Fleet } from './fleet.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** The lines of `keyturn audit export`, which are not one JSON document. */
export async function exportedAudit(fleet: Fleet, ...args: string[]): Promise<string[]> {
  const command = [main, '--config', fleet.config, 'audit', 'export', ...args]
  const { stdout } = await promisify(execFile)(process.execPath, command)
  return stdout.trim().split('\n')
}
