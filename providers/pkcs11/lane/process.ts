import { Worker } from 'node:worker_threads'
import type { BatchReply, LaneMessage, Reply } from '../wire/messages.ts'

/**
 * Entry of a child process of the pool. The lanes are threads, this main thread never calls the module: so it always
 * hears when the parent is gone, even with a thread stuck in a module that hangs, and then it ends at once (a SIGKILL
 * to itself, since an exit would wait for that thread, and SoftHSM 2.6.1 crashes in its own exit handlers).
 * SIGINT and SIGTERM to the process group are for the parent, which drains the lanes and closes them.
 */
const threads = new Map<number, Worker>()

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
  // The thread has its own copy: plaintext DEKs of a wrap are not left here.
  if (message.request.op === 'wrap') message.request.items.fill(0)
})

function threadOf(lane: number): Worker {
  const known = threads.get(lane)
  if (known !== undefined) return known
  const thread = new Worker(new URL('./thread.js', import.meta.url), { execArgv: [] })
  thread.on('message', (reply: Reply) => {
    process.send?.(reply, undefined, undefined, () => {
      const packed = (reply.value as Partial<BatchReply> | null)?.items
      packed?.fill(0)
    })
  })
  // A thread that ends by itself has failed: the parent sees the process die and repeats what was in it.
  thread.on('error', (error) => {
    process.stderr.write(`keyturn lane failed: ${String(error)}\n`)
    end()
  })
  thread.on('exit', end)
  threads.set(lane, thread)
  return thread
}

function ignore(): void {
  // Only the parent's word counts.
}

function end(): void {
  process.kill(process.pid, 'SIGKILL')
}
