import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Where Debian's p11-kit and similar packages install the proxy. */
const places = [
  '/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so',
  '/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so',
  '/usr/lib64/p11-kit-proxy.so',
]

/**
 * The path of p11-kit's proxy; null unless it is installed and shows SoftHSM2, as with Debian's packages, which bring the
 * file that names the module. Root cannot use a file of its own instead: p11-kit reads none from the home of root.
 */
export async function findP11KitProxy(): Promise<string | null> {
  const proxy = places.find((path) => existsSync(path))
  if (proxy === undefined) return null
  const { stdout } = await run('p11-kit', ['list-modules']).catch(() => ({ stdout: '' }))
  return stdout.includes('libsofthsm2') ? proxy : null
}
