import { parentPort } from 'node:worker_threads'
import { faultFrom, type Fault } from './errors.ts'
import { Lane } from './lane.ts'
import type { BatchReply, Envelope, Reply } from './lane-messages.ts'

/** Entry of a lane's thread: requests in, replies out, strictly one after the other. */
const lane = new Lane()

parentPort?.on('message', ({ id, lane: number, request }: Envelope) => {
  const start = performance.now()
  let value: unknown = null
  let fault: Fault | null = null
  try {
    value = lane.run(request)
  } catch (error) {
    fault = faultFrom(error)
  }
  const milliseconds = performance.now() - start
  const reply: Reply = { id, lane: number, ...lane.takeCounts(), milliseconds, fault, value }
  // Packed answers have memory of their own (pack): moved, not copied, so that no DEK is left behind here.
  const packed = (value as Partial<BatchReply> | null)?.items
  parentPort?.postMessage(reply, packed === undefined ? [] : [packed.buffer as ArrayBuffer])
})
