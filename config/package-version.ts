import { createRequire } from 'node:module'

/** Relative to the compiled file in dist/config, and to this source file. */
const candidates = ['../../package.json', '../package.json']

/** The version of this package; `unknown` when its package.json is not found. */
export function packageVersion(): string {
  const require = createRequire(import.meta.url)
  for (const path of candidates) {
    try {
      const found = require(path) as { name?: string; version?: string }
      if (found.name === 'keyturn' && found.version !== undefined) return found.version
    } catch {
      continue
    }
  }
  return 'unknown'
}
