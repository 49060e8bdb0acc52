import { createRequire } from 'node:module'
import type { Command } from 'commander'
import { answering } from '../answer.ts'

/** Of the compiled file in dist/cli/commands, and of this one. */
const candidates = ['../../../package.json', '../../package.json']

export function register(program: Command): void {
  program
    .command('version')
    .summary('print the version')
    .description('Prints the version of Keyturn and of Node.js.')
    .addHelpText('after', '\nExample: keyturn version --json')
    .action(
      answering(() => {
        const version = packageVersion()
        const node = process.version.slice(1)
        const text = `keyturn ${version} (node ${node})`
        return Promise.resolve({ json: { version, node }, text })
      }),
    )
}

function packageVersion(): string {
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
