import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

// Runs command lines of dist/cli one after the other in one process, so that only the first pays for loading it (half a
// second of a core). A line of stdin is one command: {"args": […]}. The line `mark` on stdout and on stderr ends it, with
// the exit code on stdout. It ends when stdin does.
const mark = '\u0004'
const { run } = await import(fileURLToPath(new URL('../../dist/cli/run.js', import.meta.url)))
const events = ['uncaughtException', 'unhandledRejection', 'SIGINT', 'SIGTERM']

for await (const line of createInterface({ input: process.stdin })) {
  const code = await run(JSON.parse(line).args)
  // Undoes what a command leaves behind in its process.
  process.exitCode = 0
  for (const event of events) process.removeAllListeners(event)
  for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
  process.stdout.write(`${mark}${code}\n`)
  process.stderr.write(`${mark}\n`)
}
process.exit(0)
