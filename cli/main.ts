#!/usr/bin/env node
import { run } from './run.ts'

// Exits explicitly: a socket that a library leaves open must not keep a finished command alive.
process.exit(await run(process.argv.slice(2)))
