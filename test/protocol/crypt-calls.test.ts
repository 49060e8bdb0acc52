import { expect, test } from 'vitest'
import { hsmBudget } from '../../protocol/crypt-calls.ts'

const process = (role: 'worker' | 'app', loaded: number[]) => ({
  role,
  pid: 1,
  current: 1,
  epoch: 1,
  loaded,
  heartbeatAgeSeconds: 1,
})

test('the budget counts proofs per loaded version, questions per process and envelopes by check mode', () => {
  const fleet = [
    { processes: [process('worker', [1, 2])] },
    { processes: [process('worker', [1, 2]), process('app', [2])] },
  ]
  const envelopes = { rotation: 1000, all: 1500 }
  const proveMs = 6 * 3_600_000
  expect(hsmBudget({ fleet, envelopes, check: 'all', proveMs })).toEqual({
    standingPerDay: 3 * 5 * 4,
    verify: 3 * 3 + 2 * 2,
    rotation: 3000,
    scan: 1500,
  })
  const { rotation } = hsmBudget({ fleet, envelopes, check: 'sampled', proveMs })
  expect(rotation).toBe(2063)
})
