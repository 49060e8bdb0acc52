import { KeyturnError } from '../../../contracts/errors.ts'
import { errorFrom } from './errors.ts'
import type { LaneReply, LaneRequest, ReplyTo } from './messages.ts'

/** The result in the reply to `request`. Throws the coded error when the lane reported a fault. */
export function resultOf<R extends LaneRequest>(request: R, reply: LaneReply): ReplyTo<R> {
  if (reply.fault !== null) throw errorFrom(reply.fault)
  if (isReplyTo(request, reply)) return reply.value
  throw new KeyturnError('internal', `a lane replied to "${reply.op}", not to "${request.op}"`)
}

type Success<R extends LaneRequest = LaneRequest> = LaneReply<R> & { fault: null }

function isReplyTo<R extends LaneRequest>(request: R, reply: Success): reply is Success<R> {
  return reply.op === request.op
}

/** The packed rows of a batch's reply, to be moved or overwritten; null for other replies. */
export function packedRows({ value }: LaneReply): Uint8Array | null {
  return typeof value === 'object' && value !== null && 'items' in value ? value.items : null
}
