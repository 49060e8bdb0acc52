import { expect, test } from 'vitest'
import { rotationOutcome, type RotationEnd } from '../../protocol/rotation-outcome.ts'

const ended = (end: Partial<RotationEnd>) =>
  rotationOutcome({ phase: 'settle', promoted: true, error: null, quarantined: 0, ...end })

test('a rotation completes, and names the envelopes that it leaves in quarantine', () => {
  expect(ended({})).toBe('completed')
  expect(ended({ quarantined: 1 })).toBe('completed-with-quarantine')
})

test('an error refuses a rotation that has changed nothing, and fails a later one', () => {
  expect(ended({ error: 'not-ready', phase: 'verify', promoted: false })).toBe('refused')
  expect(ended({ error: 'internal', phase: 'verify', promoted: true })).toBe('failed')
  // A rotation that finishes a cancelled one does not promote.
  expect(ended({ error: 'internal', phase: 'rewrap', promoted: false })).toBe('failed')
  expect(ended({ error: 'cancelled', quarantined: 1 })).toBe('cancelled')
})
