import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { loadConfig } from '../../config/load-config.ts'
import type { Config } from '../../contracts/settings.ts'

/** The shortest file that is valid. */
export const least = `install: payments
mongodb: { uri: "mongodb://127.0.0.1:27017", database: app }
kek: { provider: env }
collections:
  - { name: certificates, envelopes: [private_key] }
`

/** An empty folder that is gone after the test. */
export function freshFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'keyturn-config-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function load(text: string, env: NodeJS.ProcessEnv = {}): Config {
  const cwd = freshFolder()
  writeFileSync(path.join(cwd, 'keyturn.yaml'), text)
  return loadConfig({ cwd, env })
}

/** `code: message | hint`, the folder cut out of it; `none` when nothing is thrown. */
export function fault(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    const { code, message, hint } = error as { code: string; message: string; hint?: string }
    const text = `${code}: ${message} | ${hint ?? 'no hint'}`
    return text.replaceAll(/\/\S*keyturn-config-[^/]+\//g, '')
  }
  return 'none'
}
