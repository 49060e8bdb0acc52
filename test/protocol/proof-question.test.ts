import { describe, expect, test } from 'vitest'
import { countingNonces, hasAnswered } from '../../protocol/proof-question.ts'
import { heartbeat, proof } from './fleet-facts.ts'

describe('questions for proofs', () => {
  const asked = [
    { nonce: 'a', target: 2 },
    { nonce: 'b', target: null },
    { nonce: 'c', target: 3 },
  ]

  test('an answer to a later question that also names the version counts', () => {
    expect(countingNonces(asked, 'a', 2)).toEqual(['a', 'b'])
    expect(countingNonces(asked, 'b', 2)).toEqual(['b'])
    expect(countingNonces(asked, 'b', 3)).toEqual(['b', 'c'])
  })

  test('only its own nonce counts for a question that is no longer known', () => {
    expect(countingNonces(asked, 'z', 2)).toEqual(['z'])
    expect(countingNonces([], 'z', 2)).toEqual(['z'])
  })

  test('a process has answered when its heartbeat repeats a nonce with the version', () => {
    const says = (answers: string | null) => heartbeat('vm-a/1', { loaded: [proof(2, answers)] })
    expect(hasAnswered(says('b'), 2, ['a', 'b'])).toBe(true)
    expect(hasAnswered(says('b'), 1, ['a', 'b'])).toBe(false)
    expect(hasAnswered(says(null), 2, ['a', 'b'])).toBe(false)
    expect(hasAnswered({ ...says('b'), ageMs: 90_001 }, 2, ['b'])).toBe(false)
  })
})
