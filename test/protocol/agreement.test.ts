import { describe, expect, test } from 'vitest'
import { configAgreement } from '../../protocol/config-agreement.ts'
import { heartbeatFact, rosterFact } from '../../protocol/facts.ts'
import { isQuestionOld, provenInAll } from '../../protocol/proven-in-all.ts'
import { observeTail, tailBegins } from '../../protocol/tail.ts'
import { base, heartbeat, nonce, proof } from './fleet-facts.ts'

describe('promote’s condition', () => {
  const without = heartbeat('vm-b/1', { loaded: [], pid: 9, role: 'app' })

  const asked = { nonces: [nonce], met: null }

  test('holds when each live heartbeat answers the question', () => {
    expect(provenInAll([heartbeat('vm-a/1'), { ...without, ageMs: 90_001 }], 2, asked)).toBeNull()
  })

  test('fails with an answer to an older question, and with a proof that answers none', () => {
    for (const answers of ['older', null]) {
      const fleet = [heartbeat('vm-a/1', { loaded: [proof(2, answers)] })]
      expect(provenInAll(fleet, 2, asked)?.message).toContain('vm-a')
      expect(provenInAll(fleet, 2, { ...asked, nonces: [nonce, 'older'] })?.code).toBe(
        answers === null ? 'not-ready' : undefined,
      )
    }
  })

  test('requires a question younger than two leases, by a clock that did not run backwards', () => {
    expect([null, -1, 180_001].map((ageMs) => isQuestionOld(ageMs, 90_000))).toEqual([true, true, true]) // prettier-ignore
    expect([0, 180_000].map((ageMs) => isQuestionOld(ageMs, 90_000))).toEqual([false, false])
  })

  test('names each process that has not proven the version', () => {
    expect(provenInAll([heartbeat('vm-a/1'), without], 2, asked)).toMatchObject({
      code: 'not-ready',
      message: 'version "2" is not proven by vm-b (app, pid 9)',
    })
  })

  test('names each process that started after verify', () => {
    const fleet = [heartbeat('vm-a/1'), heartbeat('vm-b/1')]
    expect(provenInAll(fleet, 2, { ...asked, met: ['vm-a/1'] })?.message).toContain('vm-b')
  })
})

describe('agreement of settings', () => {
  test('names the nodes whose live processes differ', () => {
    const other = { settings: 'bb' }
    const fleet = [heartbeat('vm-b/1', other), heartbeat('vm-b/2', other), heartbeat('vm-a/1')]
    expect(configAgreement(fleet, 'aa')).toMatchObject({
      code: 'config-differs',
      message: 'settings differ on "vm-b"',
    })
    expect(configAgreement([heartbeat('vm-c/1', { settings: null })], 'aa')).toBeNull()
    expect(configAgreement([heartbeat('vm-c/1', { ...other, ageMs: 1e6 })], 'aa')).toBeNull()
  })
})

describe('the tail', () => {
  test('ends at two zeros one heartbeat apart, and starts again when an envelope is found', () => {
    const look = (state: typeof tailBegins, remaining: number, observerMs: number) =>
      observeTail(state, { remaining, observerMs, heartbeatMs: 30_000 })
    const first = look(tailBegins, 0, 1000)
    expect(first.done).toBe(false)
    expect(look(first, 0, 30_999).done).toBe(false)
    expect(look(first, 0, 31_000).done).toBe(true)
    expect(look(look(first, 1, 20_000), 0, 31_000).done).toBe(false)
  })
})

describe('facts', () => {
  test('are JSON, with ages by the clock of the reading', () => {
    const fact = heartbeatFact(
      {
        _id: 'vm/a/77',
        node: 'vm/a',
        pid: 7,
        role: 'app',
        started_at: new Date(base),
        at: new Date(base),
        lease_until: new Date(base + 90_000),
        expires_at: new Date(base + 300_000),
        current: 1,
        epoch: 1,
        loaded: [{ version: 1, proven_at: new Date(base) }],
        settings: Buffer.from('ab', 'hex'),
      },
      new Date(base + 4000),
    )
    expect(fact).toMatchObject({ boot: '77', ageMs: 4000, leaseMs: 90_000, settings: 'ab' })
    expect(JSON.parse(JSON.stringify(fact))).toEqual(fact)
    const row = { _id: 'vm-a', kind: 'host', decommissioned_at: null } as const
    const seen = { ...row, last_seen: new Date(base) }
    const known = { node: 'vm-a', kind: 'host', decommissioned: false }
    expect(rosterFact(row, new Date(base))).toEqual({ ...known, seenMsAgo: null })
    expect(rosterFact(seen, new Date(base + 700))).toEqual({ ...known, seenMsAgo: 700 })
  })
})
