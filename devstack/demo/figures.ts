export const count = (number: number): string => Math.round(number).toLocaleString('en-US')

export const milliseconds = (elapsed: number): string => `${elapsed.toFixed(0)} ms`

/** Since a moment of `performance.now()`. */
export const secondsSince = (started: number): string =>
  `${((performance.now() - started) / 1000).toFixed(1)} s`

export const percent = (part: number, whole: number): string =>
  `${((100 * part) / whole).toFixed(0)} %`
