/**
 * Splits a list for commands of bounded size: at most `count` items and `bytes` bytes, unless one item alone is larger.
 * MongoDB accepts 48 MB per command, and 16 MB per document in it.
 */
export function* byteSlices<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  { count, bytes = sliceBytes }: { count: number; bytes?: number },
): Generator<T[], void> {
  let slice: T[] = []
  let size = 0
  for (const item of items) {
    const more = sizeOf(item)
    if (slice.length === count || (slice.length > 0 && size + more > bytes)) {
      yield slice
      slice = []
      size = 0
    }
    slice.push(item)
    size += more
  }
  if (slice.length > 0) yield slice
}

const sliceBytes = 8 * 2 ** 20
