import { parentPort } from 'node:worker_threads'
import type { Fault } from '../wire/errors.ts'
import { Lane } from './lane.ts'
import { runnableMs } from './thread-wait.ts'
import type { BatchReply, LaneMessage, Reply } from '../wire/messages.ts'

/** Entry of a lane's thread: requests in, replies out, strictly one after the other. */
const lane = new Lane()

parentPort?.on('message', ({ id, lane: number, request }: LaneMessage) => {
  const start = performance.now()
  const before = runnableMs()
  let value: unknown = null
  let fault: Fault | null = null
  try {
    value = lane.run(request)
  } catch (error) {
    fault = lane.faultOf(error)
  }
  const milliseconds = performance.now() - start
  const after = runnableMs()
  const ran = before === null || after === null ? 0 : after - before
  const waited = Math.max(0, milliseconds - ran)
  const spent = { milliseconds, waited }
  const reply: Reply = { id, lane: number, ...lane.takeCounts(), ...spent, fault, value }
  // A packed reply has its own memory (pack): it is moved, not copied, so that no DEK is left here.
  const packed = (value as Partial<BatchReply> | null)?.items
  parentPort?.postMessage(reply, packed === undefined ? [] : [packed.buffer as ArrayBuffer])
})
