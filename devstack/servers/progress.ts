export type Print = (line: string) => void

/** Prints a line now, and one every five seconds until the work is done, so that a person sees that it still runs. */
const everyMs = 5_000

export async function withProgress<T>(print: Print, doing: string, work: Promise<T>): Promise<T> {
  const started = performance.now()
  print(`${doing} …`)
  const timer = setInterval(() => {
    print(`${doing} … ${Math.round((performance.now() - started) / 1000).toString()} s`)
  }, everyMs)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}
