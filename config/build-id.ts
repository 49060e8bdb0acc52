import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { KeyturnError } from '../contracts/errors.ts'
import { packageVersion } from './package-version.ts'

/** Left out of the hash: the source map holds paths of the build machine, which differ for the same workflows. */
const sourceMap = /^\/\/# sourceMappingURL=.*$/gm

/**
 * Identifies a build of the workflows: the package's version and the hash of the bundle that a control worker runs. Throws
 * `config-invalid` when the bundle is missing.
 */
export function buildId(): string {
  return `${packageVersion()}-${bundleHash(readBundle())}`
}

export function bundleHash(bundle: string): string {
  return createHash('sha256').update(bundle.replace(sourceMap, '')).digest('hex').slice(0, 12)
}

function readBundle(): string {
  try {
    return readFileSync(createRequire(import.meta.url).resolve('#workflow-bundle'), 'utf8')
  } catch (cause) {
    throw new KeyturnError('config-invalid', 'the workflow bundle is missing', {
      hint: 'in a checkout: npm run build',
      cause,
    })
  }
}
