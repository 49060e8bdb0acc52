import { describe, expect, test } from 'vitest'
import { provenInAll } from '../../protocol/proven-in-all.ts'
import { isReady, fleetReadiness } from '../../protocol/readiness.ts'
import { at, heartbeat, host, nonce, proof } from './fleet-facts.ts'

/** A document that was written by hand and dated far ahead, so that its claims always look fresh. */
const forged = heartbeat('app-1/x', {
  role: 'app',
  at: at(9_000_000),
  ageMs: -9_000_000_000,
  loaded: [proof(2)],
})

describe('a heartbeat that is dated later than the database’s clock', () => {
  const judge = (heartbeats: (typeof forged)[]) =>
    fleetReadiness({
      target: 2,
      nonces: [nonce],
      roster: [host('app-1')],
      answers: [],
      settings: null,
      heartbeats,
    })

  test('proves nothing to verify', () => {
    const nodes = judge([forged])
    expect(nodes).toMatchObject([{ node: 'app-1', ready: false, reason: 'stale' }])
    expect(isReady(nodes)).toBe(false)
    expect(isReady(judge([{ ...forged, at: at(5), ageMs: 0, loaded: [proof(2)] }]))).toBe(true) // prettier-ignore
  })

  test('proves nothing to promote, which still has to ask its process', () => {
    expect(provenInAll([forged], 2, { nonces: [nonce], met: null })?.code).toBe('not-ready')
  })
})

describe('promote', () => {
  const met = heartbeat('vm-a/1')
  const unmet = heartbeat('vm-b/2')
  const asked = (...met: string[]) => ({ nonces: [nonce], met })

  test('refuses while a process that verify has not met is live', () => {
    expect(provenInAll([met, unmet], 2, asked('vm-a/1'))?.message).toContain('vm-b')
    expect(provenInAll([met, unmet], 2, asked('vm-a/1', 'vm-b/2'))).toBeNull()
  })

  test('does not wait for a silent process', () => {
    expect(provenInAll([met, { ...unmet, ageMs: 90_001 }], 2, asked('vm-a/1'))).toBeNull()
  })
})
