/**
 * The same items, with the next one already being made while the consumer works on the last: one item of look-ahead,
 * never more, so a slow consumer holds its source back. An error of the source is thrown where the failed item would
 * have come. When the consumer leaves early, the item in the making is waited for and dropped, then the source ends.
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

/** The error is met at the `await`, which may come much later: until then it must not count as unhandled. */
function pull<T>(source: AsyncGenerator<T, void>): Promise<IteratorResult<T, void>> {
  const next = source.next()
  next.catch(ignore)
  return next
}

function ignore(): void {
  // Thrown again at the await, or dropped on purpose.
}
