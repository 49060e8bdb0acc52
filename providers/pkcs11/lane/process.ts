import { Worker } from 'node:worker_threads'
import { keepMemoryOutOfCoreDumps } from '../../../observability/core-dumps.ts'
import type { LaneMessage, LaneReply } from '../wire/messages.ts'
import { packedRows } from '../wire/result.ts'

/**
 * Entry of a child process of the pool. The lanes are threads; this main thread never calls the module, so it always
 * notices the end of the parent, even if a thread hangs in the module. Then it ends at once by sending itself SIGKILL: an
 * exit would wait for that thread, and SoftHSM 2.6.1 crashes in its exit handlers.
 * SIGINT and SIGTERM to the process group are ignored: the parent handles them, drains the lanes and closes them.
 */
const threads = new Map<number, Worker>()

keepMemoryOutOfCoreDumps()

process.on('SIGINT', ignore)
process.on('SIGTERM', ignore)
process.on('SIGHUP', ignore)
process.on('disconnect', end)
process.on('message', (message: LaneMessage | 'end') => {
  if (message === 'end') {
    end()
    return
  }
  threadOf(message.lane).postMessage(message)
  // The thread has its own copy; erase the plaintext DEKs of a wrap here.
  if (message.request.op === 'wrap') message.request.items.fill(0)
})

function threadOf(lane: number): Worker {
  const known = threads.get(lane)
  if (known !== undefined) return known
  const thread = new Worker(new URL('./thread.js', import.meta.url), { execArgv: [] })
  thread.on('message', (reply: LaneReply) => {
    process.send?.(reply, undefined, undefined, () => packedRows(reply)?.fill(0))
  })
  // A thread that ends by itself has failed: the parent sees the process die and repeats its requests.
  thread.on('error', (error) => {
    process.stderr.write(`keyturn lane failed: ${String(error)}\n`)
    end()
  })
  thread.on('exit', end)
  threads.set(lane, thread)
  return thread
}

function ignore(): void {
  // Only the parent ends this process.
}

function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
