/** How long a rendered page is reused, in milliseconds. */
const renderedForMs = 1_000

/** Renders at most once a second, however many requests there are. A failed rendering is not reused. */
export function onceASecond<T>(render: () => Promise<T>): () => Promise<T> {
  let last: { at: number; page: Promise<T> } | null = null
  return () => {
    if (last !== null && performance.now() - last.at < renderedForMs) return last.page
    const rendered = { at: performance.now(), page: render() }
    last = rendered
    rendered.page.catch(() => {
      if (last === rendered) last = null
    })
    return rendered.page
  }
}
