import { createRequire } from 'node:module'

/** Of the compiled file in dist/config, and of this one. */
const candidates = ['../../package.json', '../package.json']

/** The version of this Keyturn; `unknown` where its package.json is not beside it. */
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
