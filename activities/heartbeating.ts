import { Context, CancelledFailure } from '@temporalio/activity'
import { awaitedText, longAwaited, type Awaited } from '../observability/awaiting.ts'

/** How often a long activity heartbeats. The SDK throttles heartbeats below a second. */
const heartbeatMs = 1_000

/**
 * Runs a long step with heartbeats. Through them a cancel or the worker's shutdown reaches it, as the signal. They never
 * hold progress: that is in MongoDB. Their details are what the step waits for: what it gives to `tell`, else a long wait
 * for MongoDB and what `also` returns. Status, followers and the Temporal UI show them.
 */
export async function heartbeating<T>(
  step: (signal: AbortSignal, tell: (details: unknown) => void) => Promise<T>,
  also: () => Awaited | null = () => null,
): Promise<T> {
  const context = Context.current()
  let reported: unknown
  const timer = setInterval(() => context.heartbeat(reported ?? waitsFor(also())), heartbeatMs)
  try {
    context.heartbeat()
    return await step(context.cancellationSignal, (details) => (reported = details))
  } catch (error) {
    if (context.cancellationSignal.aborted)
      throw new CancelledFailure('ended after the work in flight')
    throw error
  } finally {
    clearInterval(timer)
  }
}

function waitsFor(also: Awaited | null): { awaiting: string[] } | undefined {
  const awaited = [longAwaited(), also].filter((one) => one !== null)
  return awaited.length === 0 ? undefined : { awaiting: awaited.map((one) => awaitedText(one)) }
}
