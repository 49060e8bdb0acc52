import { Context, CancelledFailure } from '@temporalio/activity'
import { awaitedText, longAwaited } from '../store/awaiting.ts'

/** How often a long activity shows that it lives. The SDK throttles what is more often than a second. */
const signOfLifeMs = 1_000

/**
 * Runs a long step under a heartbeat: the sign of life, and the way in which a cancel or the worker's shutdown reaches
 * it (as the signal). Where it got to is never in the heartbeat: the database knows. What it waits for may be told with
 * `tell`, and what MongoDB has not answered is told by itself: status, followers and the Temporal UI show it.
 */
export async function heartbeating<T>(
  step: (signal: AbortSignal, tell: (details: unknown) => void) => Promise<T>,
): Promise<T> {
  const context = Context.current()
  let told: unknown
  const timer = setInterval(() => context.heartbeat(told ?? waitsFor()), signOfLifeMs)
  try {
    context.heartbeat()
    return await step(context.cancellationSignal, (details) => (told = details))
  } catch (error) {
    if (context.cancellationSignal.aborted)
      throw new CancelledFailure('ended after the work in flight')
    throw error
  } finally {
    clearInterval(timer)
  }
}

function waitsFor(): { awaiting: string[] } | undefined {
  const awaited = longAwaited()
  return awaited === null ? undefined : { awaiting: [awaitedText(awaited)] }
}
