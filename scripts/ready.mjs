/**
 * Makes a checkout ready to run, and costs next to nothing when it is: packages, build, servers, SoftHSM2.
 * It imports nothing but Node's own modules, because it runs before there is a node_modules. What it did last is
 * noted in `.keyturn/ready.json`; a part is done again when what it was made from has changed.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { clearInterval, setInterval } from 'node:timers'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const stampFile = join(root, '.keyturn', 'ready.json')
const generated = new Set(['node_modules', 'dist', 'test', 'docs'])
const everyMs = 5_000

class NotReady extends Error {
  constructor(code, message, hint) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

const print = (line) => console.error(line)
const path = (...parts) => join(root, ...parts)

try {
  checkNode()
  await ready()
} catch (error) {
  if (!(error instanceof NotReady)) throw error
  print(`error: ${error.message} (${error.code})`)
  print(`hint: ${error.hint}`)
  process.exit(4)
}

async function ready() {
  const stamp = readStamp()
  const lock = digest([path('package-lock.json')])
  if (stamp.lock !== lock || !existsSync(path('node_modules'))) {
    if (!installedAsLocked()) await installPackages()
    writeStamp(Object.assign(stamp, { lock, sources: null }))
  }
  const sources = digest(sourceFiles(root))
  if (stamp.sources !== sources || !existsSync(path('dist', 'devstack', 'fetch-servers.js'))) {
    await build()
    writeStamp(Object.assign(stamp, { sources }))
  }
  const wish = serverWish()
  if (stamp.wish !== wish || !stamp.servers?.every((file) => existsSync(file))) {
    const servers = await fetchServers()
    writeStamp(Object.assign(stamp, { wish, servers }))
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  const message = `this needs Node 20.19 or newer, and runs on "${process.version}"`
  throw new NotReady('node-too-old', message, 'install a newer Node, for instance from nodejs.org')
}

/** Whether node_modules matches the lock file, according to npm's own record in it. */
function installedAsLocked() {
  try {
    const read = (file) => JSON.parse(readFileSync(path(file), 'utf8')).packages
    const locked = read('package-lock.json')
    const installed = read('node_modules/.package-lock.json')
    return Object.entries(locked).every(
      ([name, entry]) =>
        name === '' || entry.optional === true || installed[name]?.version === entry.version,
    )
  } catch {
    return false
  }
}

async function installPackages() {
  // npm runs this by default: https://docs.npmjs.com/cli/commands/npm-ci
  const end = await slow('installing packages (npm ci)', 'npm', ['ci', '--no-progress'])
  if (end.code === 0) return
  const line = complaint(end.output)
  const message = `npm ci ended with ${end.code}: "${line}"`
  const hint = 'npm ci shows all of it; a C++ compiler, make and python3 are needed too'
  throw new NotReady('packages-failed', message, hint)
}

async function build() {
  const tsc = path('node_modules', 'typescript', 'bin', 'tsc')
  const incremental = ['--incremental', '--tsBuildInfoFile', path('dist', '.tsbuildinfo')]
  const steps = [
    ['building', [tsc, '-p', 'tsconfig.build.json', ...incremental]],
    ['bundling workflows', [path('scripts', 'bundle-workflows.mjs')]],
  ]
  for (const [doing, args] of steps) {
    const end = await slow(doing, process.execPath, args)
    if (end.code === 0) continue
    print(end.output.trimEnd())
    const message = `${doing} ended with ${end.code}`
    throw new NotReady('build-failed', message, 'the lines above show what is wrong in the sources')
  }
}

/** Returns the files of the servers: while they exist, nothing is fetched again. */
async function fetchServers() {
  const { fetchServers: fetch } = await import('../dist/devstack/fetch-servers.js')
  try {
    const { mongod, temporal, softhsm } = await fetch(print)
    return [mongod?.path, temporal?.path, softhsm?.modulePath].filter(Boolean)
  } catch (error) {
    if (error.code !== 'server-missing') throw error
    throw new NotReady(error.code, error.message, error.hint)
  }
}

/** The variables that decide where the servers come from. */
function serverWish() {
  const { env } = process
  const names = Object.keys(env).filter((name) =>
    /^KEYTURN_(STACK_|MONGOD|TEMPORAL$|SOFT)/.test(name),
  )
  return names
    .sort()
    .map((name) => createHash('sha256').update(`${name}=${env[name]}`).digest('hex'))
    .join(' ')
}

function sourceFiles(folder, files = []) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith('.') || generated.has(entry.name)) continue
    const file = join(folder, entry.name)
    if (entry.isDirectory()) sourceFiles(file, files)
    else if (/\.(ts|mjs)$|^(package|tsconfig.*)\.json$/.test(entry.name)) files.push(file)
  }
  return files.sort()
}

function digest(files) {
  const hash = createHash('sha256')
  for (const file of files) hash.update(file).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex')
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'))
  } catch {
    return {}
  }
}

function writeStamp(stamp) {
  mkdirSync(dirname(stampFile), { recursive: true })
  writeFileSync(stampFile, JSON.stringify(stamp, null, 2))
}

/** Runs a program that may take a while, with a line every few seconds so that a person sees that it still runs. */
function slow(doing, command, args) {
  return new Promise((resolve) => {
    const started = Date.now()
    print(`${doing} …`)
    const timer = setInterval(() => {
      print(`${doing} … ${Math.round((Date.now() - started) / 1000)} s`)
    }, everyMs)
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    const finish = (code) => {
      clearInterval(timer)
      resolve({ code, output })
    }
    child.on('error', (error) => {
      output += error.message
      finish(null)
    })
    child.on('close', finish)
  })
}

/** npm's own sentence about what is wrong, without its prefix and its codes. */
function complaint(text) {
  const lines = text.trim().split('\n')
  const messages = lines
    .filter((line) => /^npm (error|ERR!)/.test(line))
    .map((line) => line.replace(/^npm (error|ERR!)/, '').trim())
  return (
    messages.find((line) => / /.test(line) && !/^(code|errno|path|A complete log) /.test(line)) ??
    lines.at(-1)
  )
}
