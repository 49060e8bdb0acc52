import { Context, CancelledFailure } from '@temporalio/activity'
import { awaitedText, longAwaited, type Awaited } from '../observability/awaiting.ts'

/** How often a long activity shows that it lives. The SDK throttles what is more often than a second. */
const signOfLifeMs = 1_000

/**
 * Runs a long step under a heartbeat: the sign of life, and the way in which a cancel or the worker's shutdown reaches
 * it (as the signal). Where it got to is never in the heartbeat: the database knows. What it waits for may be told with
 * `tell`, and what MongoDB has not answered, or what `also` knows of, is told by itself: status, followers and the Temporal
 * UI show it.
 */
export async function heartbeating<T>(
  step: (signal: AbortSignal, tell: (details: unknown) => void) => Promise<T>,
  also: () => Awaited | null = () => null,
): Promise<T> {
  const context = Context.current()
  let reported: unknown
  const timer = setInterval(() => context.heartbeat(reported ?? waitsFor(also())), signOfLifeMs)
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
