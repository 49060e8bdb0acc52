#!/usr/bin/env node
import { run } from './run.ts'

// The exit is explicit: a socket that some library leaves open must not keep a finished command alive.
process.exit(await run(process.argv.slice(2)))
