import { expect, test } from 'vitest'
import { toFailure } from '../../activities/failures.ts'
import { KeyturnError } from '../../contracts/errors.ts'

test('long messages and hints are cut on the terminal, in JSON and for Temporal', () => {
  const huge = 'x'.repeat(1_000_000)
  const error = new KeyturnError('wrong-provider', `provider "${huge}"`, { hint: huge })
  expect(error.message).toMatch(/^provider "x{100}.*… \(1000011 characters\)$/)
  expect(JSON.stringify(error).length).toBeLessThan(4_200)
  const failures = [toFailure(error), toFailure(new TypeError(huge))]
  for (const failure of failures) {
    const { message, details } = failure as { message: string; details: unknown }
    expect(message.length + JSON.stringify(details).length).toBeLessThan(4_200)
  }
})
