import { parentPort } from 'node:worker_threads'
import { Lane } from './lane.ts'
import { runnableMs } from './thread-wait.ts'
import type { LaneMessage, LaneReply, LaneRequest, Outcome } from '../wire/messages.ts'
import { packedRows } from '../wire/result.ts'

/** Entry of a lane's thread: requests in, replies out, strictly one after the other. */
const lane = new Lane()

parentPort?.on('message', ({ id, lane: number, request }: LaneMessage) => {
  const start = performance.now()
  const before = runnableMs()
  const outcome = run(request)
  const milliseconds = performance.now() - start
  const after = runnableMs()
  const ran = before === null || after === null ? 0 : after - before
  const waited = Math.max(0, milliseconds - ran)
  const { op } = request
  const counts = lane.takeCounts()
  const reply: LaneReply = { id, lane: number, op, ...counts, milliseconds, waited, ...outcome }
  // A packed reply has its own memory (pack): it is moved, not copied, so that no DEK is left here.
  const packed = packedRows(reply)
  parentPort?.postMessage(reply, packed === null ? [] : [packed.buffer as ArrayBuffer])
})

function run(request: LaneRequest): Outcome {
  try {
    return { fault: null, value: lane.run(request) }
  } catch (error) {
    return { fault: lane.faultOf(error), value: null }
  }
}
