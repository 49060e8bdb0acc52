/** Random bytes have about 30 different values among 32, and fewer than this many once in 10^22 keys. */
const FEWEST_VALUES = 13
/** A random key has so many equal bytes in a row once in 10^15 keys; a shorter key that was padded does. */
const LONGEST_RUN = 7
const LONGEST_PERIOD = 16

/**
 * Why 32 bytes are obviously not a random key, or null: a pattern that repeats within 16 bytes (such as all zeros), bytes
 * that count up or down by any step, few different bytes, a run of equal bytes. A random key is refused once in 10^15
 * times; an invented one may still pass.
 */
export function notRandom(key: Buffer): string | null {
  const period = shortestPeriod(key)
  if (period === 1) return 'is one byte repeated, not a random key'
  if (period !== null) return `is ${period} bytes repeated, not a random key`
  if (counts(key)) return 'is a row of bytes that count, not a random key'
  if (longestRun(key) > LONGEST_RUN) return 'has many equal bytes in a row, not a random key'
  if (new Set(key).size < FEWEST_VALUES) return 'has few different bytes, not a random key'
  return null
}

function shortestPeriod(key: Buffer): number | null {
  for (let period = 1; period <= LONGEST_PERIOD; period += 1) {
    if (key.subarray(period).equals(key.subarray(0, -period))) return period
  }
  return null
}

function counts(key: Buffer): boolean {
  const step = (at: number): number => ((key[at + 1] ?? 0) - (key[at] ?? 0)) & 0xff
  return Array.from({ length: key.length - 1 }, (_, at) => step(at)).every(
    (each) => each === step(0),
  )
}

function longestRun(key: Buffer): number {
  let longest = 1
  let run = 1
  for (let at = 1; at < key.length; at += 1) {
    run = key[at] === key[at - 1] ? run + 1 : 1
    longest = Math.max(longest, run)
  }
  return longest
}
