/**
 * Yields the items of `source` and makes the next one while the consumer works on the last: one item ahead, never more, so
 * a slow consumer slows the source down. An error of the source is thrown in place of the failed item. When the consumer
 * returns early, the next item is awaited and dropped, and the source is closed.
 */
export async function* prefetch<T>(source: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  let next = pull(source)
  try {
    for (;;) {
      const item = await next
      if (item.done === true) return
      next = pull(source)
      yield item.value
    }
  } finally {
    await next.catch(ignore)
    await source.return()
  }
}

/** The consumer awaits the error, perhaps much later: until then it must not count as unhandled. */
function pull<T>(source: AsyncGenerator<T, void>): Promise<IteratorResult<T, void>> {
  const next = source.next()
  next.catch(ignore)
  return next
}

function ignore(): void {
  // Thrown again at the await, or dropped on purpose.
}
