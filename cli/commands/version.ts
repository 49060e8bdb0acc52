import type { Command } from 'commander'
import { buildId } from '../../config/build-id.ts'
import { packageVersion } from '../../config/package-version.ts'
import { answering } from '../answer.ts'

export function register(program: Command): void {
  program
    .command('version')
    .summary('print the version')
    .description('Prints the version of Keyturn and of Node.js, and the build id of its workflows.')
    .addHelpText('after', '\nExample: keyturn version --json')
    .action(
      answering(() => {
        const version = packageVersion()
        const node = process.version.slice(1)
        const build = buildId()
        const text = `keyturn ${version} (node ${node}, build ${build})`
        return Promise.resolve({ json: { version, node, build }, text })
      }),
    )
}
