import { expect, test } from 'vitest'
import { inWords } from '../../contracts/durations.ts'

test.each([
  [0, '0 s'],
  [300, '0.3 s'],
  [9_960, '10 s'],
  [90_000, '90 s'],
  [600_000, '10 min'],
  [7_199_000, '2 h'],
  [8_100_000, '2 h 15 min'],
  [86_400_000, '24 h'],
  [2_591_964_000, '30 days'],
  [-5, '0 s'],
])('%i ms are shown as %s', (milliseconds, words) => {
  expect(inWords(milliseconds)).toBe(words)
})
