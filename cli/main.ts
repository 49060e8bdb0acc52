#!/usr/bin/env node
import { keepMemoryOutOfCoreDumps } from '../observability/core-dumps.ts'
import { tooFewFiles } from './open-files.ts'

keepMemoryOutOfCoreDumps()

const refusal = tooFewFiles()
if (refusal !== null) {
  const { reportError } = await import('./ui/errors.ts')
  process.exit(reportError(refusal, process.argv.includes('--json')).exitCode)
}
// Loaded after the check: with too few descriptors Node reports some module as missing.
const { run } = await import('./run.ts')

// Exits explicitly: a socket that a library leaves open must not keep a finished command alive.
process.exit(await run(process.argv.slice(2)))
