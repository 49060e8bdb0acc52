/**
 * Installs the PKCS#11 modules that only tests use: Debian's packages where apt needs no password, and Kryoptic, which
 * cargo builds from crates.io with the versions in the crate's own lock file (about 3 minutes of one core, then cached).
 * Tests skip a module that is not there, so a failure is printed and ends nothing. Needs a built `dist/`.
 */
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { withProgress } from '../dist/devstack/servers/progress.js'
import { lastLine, runCommand } from '../dist/devstack/servers/run-command.js'
import { cacheFolder } from '../dist/devstack/servers/server-cache.js'
import { systemPackages } from '../dist/devstack/servers/system-packages.js'

const kryopticVersion = '1.5.4'
/** The features of Kryoptic that OpenSSL 3.0 can serve; the others need 3.2. */
const features = 'minimal,kryoptic-lib/dynamic'
const moduleFile = 'libkryoptic_pkcs11.so'
/** What the tests use, with the file by which it is known to be installed. */
const debianPackages = {
  softhsm2: '/usr/bin/softhsm2-util',
  opensc: '/usr/bin/pkcs11-tool',
  'libnss3-tools': '/usr/bin/certutil',
  'p11-kit': '/usr/bin/p11-kit',
  'p11-kit-modules': '/usr/share/doc/p11-kit-modules',
  opencryptoki: '/usr/share/doc/opencryptoki',
  // Kryoptic's build.
  'libclang-dev': '/usr/share/doc/libclang-dev',
  'libsqlite3-dev': '/usr/include/sqlite3.h',
  'libssl-dev': '/usr/include/openssl/ssl.h',
}

await installPackages()
try {
  await buildKryoptic(join(cacheFolder(), '..', 'kryoptic'))
} catch (error) {
  console.error(`Kryoptic ${kryopticVersion} was not built: ${error.message}`)
}

async function installPackages() {
  const missing = Object.keys(debianPackages).filter((name) => !existsSync(debianPackages[name]))
  if (missing.length === 0) return
  const install = await systemPackages()
  const list = missing.join(' ')
  if (install === null) console.error(`for more test modules install the packages ${list}`)
  else await withProgress(console.error, `installing ${list}`, install(missing))
}

/** Leaves the module and a file with its version in `folder`, both in one step. */
async function buildKryoptic(folder) {
  const built = await readFile(join(folder, 'version'), 'utf8').catch(() => '')
  if (built === kryopticVersion) return
  const work = await mkdtemp(join(tmpdir(), 'kryoptic-'))
  try {
    const doing = `building Kryoptic ${kryopticVersion}`
    const module = await withProgress(console.error, doing, cargoBuild(work))
    await mkdir(join(folder, '..'), { recursive: true })
    const ready = await mkdtemp(`${folder}-`)
    await copyFile(module, join(ready, moduleFile))
    await writeFile(join(ready, 'version'), kryopticVersion)
    await rm(folder, { recursive: true, force: true })
    await rename(ready, folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Cargo installs no libraries, so a package that depends on Kryoptic makes it fetch the crate, which is then built. */
async function cargoBuild(work) {
  const dependency = `kryoptic = { version = "=${kryopticVersion}", default-features = false }`
  const manifest = join(work, 'Cargo.toml')
  await mkdir(join(work, 'src'))
  await writeFile(join(work, 'src', 'lib.rs'), '')
  const lines = ['[package]', 'name = "fetch-kryoptic"', '[dependencies]', dependency, '']
  await writeFile(manifest, lines.join('\n'))
  const metadata = await cargo('metadata', '--format-version=1', `--manifest-path=${manifest}`)
  const crate = JSON.parse(metadata).packages.find(({ name }) => name === 'kryoptic')
  const target = join(work, 'target')
  // prettier-ignore
  await cargo('build', '--release', '--locked', '--lib', '--no-default-features', `--features=${features}`,
    `--manifest-path=${crate.manifest_path}`, `--target-dir=${target}`)
  return join(target, 'release', moduleFile)
}

async function cargo(...args) {
  const end = await runCommand('cargo', args)
  if (end.code !== 0) throw new Error(`cargo ${args[0]}: ${lastLine(end.stderr)}`)
  return end.stdout
}
