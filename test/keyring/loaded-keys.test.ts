import { describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { LoadedKeys } from '../../keyring/loaded-keys.ts'
import type { KekProvider } from '../../providers/provider.ts'
import type { VersionDoc } from '../../store/documents.ts'

const bytes = { value: () => new Uint8Array(32) }
const row = (version: number) =>
  ({
    _id: version,
    key_id: null,
    canary: { dek_iv: bytes, dek_wrapped: bytes, digest: bytes },
    gcm: { iv_mode: 'caller', iv_length: 12, tag_bits: 128 },
  }) as unknown as VersionDoc
const leaseMs = 90_000
const limits = { timeoutMs: 20, proveMs: 1e9, heartbeatMs: 30_000 }

/** Keys of a token that the test controls, on a clock that the test moves. */
function fixture() {
  const token = { reconnects: 0, proofs: 0, checks: 0, fault: null as KeyturnError | null }
  const loaded = new Set<number>()
  const prove = (version: number): Promise<void> => {
    token.proofs += 1
    if (token.fault === null) {
      loaded.add(version)
      return Promise.resolve()
    }
    loaded.delete(version)
    return Promise.reject(token.fault)
  }
  const provider = {
    loaded: () => [...loaded],
    load: ({ version }: { version: number }) => prove(version),
    prove,
    unload: (version: number) => Promise.resolve(void loaded.delete(version)),
    check: () => {
      token.checks += 1
      if (token.fault === null) return Promise.resolve(token.reconnects)
      loaded.clear()
      return Promise.reject(token.fault)
    },
  } as unknown as KekProvider
  let nowMs = 0
  const clock = () => ({ monotonicMs: nowMs, bootMs: nowMs, wallMs: nowMs })
  const failures: string[] = []
  const onFailure = (version: number, { code }: KeyturnError) => failures.push(`${version} ${code}`)
  const keys = new LoadedKeys({ provider, clock, onFailure })
  return { keys, token, loaded, failures, pass: (ms: number) => (nowMs += ms) }
}

describe('loaded keys', () => {
  test('are proven when they are loaded; later beats make no crypt call', async () => {
    const { keys, token } = fixture()
    expect(keys.note([row(1), row(2)], 1)).toBe(true)
    await keys.refresh(limits)
    for (let beat = 0; beat < 10; beat += 1) {
      expect(keys.note([row(1), row(2)], 1)).toBe(false)
      const proofs = await keys.refresh(limits)
      expect(proofs).toMatchObject([
        { version: 1, answers: null },
        { version: 2, answers: null },
      ])
    }
    expect(token).toMatchObject({ proofs: 2, checks: 10 })
  })

  test('are proven when a question names them, once, and repeat its nonce', async () => {
    const { keys, token } = fixture()
    keys.note([row(1), row(2)], 1)
    await keys.refresh(limits)
    const answers = async (nonce: string, target: number | null) => {
      const isNews = keys.note([row(1), row(2)], 1, { nonce, target })
      const proofs = await keys.refresh(limits)
      expect(keys.note([row(1), row(2)], 1, { nonce, target })).toBe(false)
      return { isNews, answers: proofs.map((proof) => proof.answers), proofs: token.proofs }
    }
    expect(await answers('a', 2)).toEqual({ isNews: true, answers: [null, 'a'], proofs: 3 })
    expect(await answers('a', 2)).toEqual({ isNews: false, answers: [null, 'a'], proofs: 3 })
    // A question for another version does not change the answer.
    expect(await answers('b', 1)).toEqual({ isNews: true, answers: ['b', 'a'], proofs: 4 })
    expect(await answers('c', null)).toEqual({ isNews: true, answers: ['c', 'c'], proofs: 6 })
    expect(await answers('d', 3)).toEqual({ isNews: false, answers: ['c', 'c'], proofs: 6 })
  })

  test('are proven again after the token was reopened, and when their proof is old', async () => {
    const { keys, token } = fixture()
    keys.note([row(1)], 1)
    await keys.refresh(limits)
    await keys.refresh(limits)
    token.reconnects += 1
    await keys.refresh(limits)
    expect(token.proofs).toBe(2)
    await keys.refresh({ ...limits, proveMs: 0 })
    expect(token.proofs).toBe(3)
  })

  test('are proven once for all waiting uses when the last proof is older than a lease', async () => {
    const { keys, token, pass } = fixture()
    keys.note([row(1)], 1)
    await keys.refresh(limits)
    await keys.requireProof(1, leaseMs)
    pass(leaseMs - 1)
    await keys.requireProof(1, leaseMs)
    expect(token.proofs).toBe(1)
    pass(1)
    expect(keys.isProven(1, leaseMs)).toBe(false)
    await Promise.all(Array.from({ length: 20 }, () => keys.requireProof(1, leaseMs)))
    expect(token.proofs).toBe(2)
  })

  test('that were replaced silently are detected by the next use and by the next question', async () => {
    const { keys, token, failures, pass } = fixture()
    keys.note([row(1)], 1)
    await keys.refresh(limits)
    token.fault = new KeyturnError('wrong-key', 'another key')
    pass(leaseMs)
    await expect(keys.requireProof(1, leaseMs)).rejects.toMatchObject({ code: 'wrong-key' })
    expect(failures).toEqual(['1 wrong-key'])
    keys.note([row(1)], 1, { nonce: 'a', target: 1 })
    expect(await keys.refresh(limits)).toEqual([])
    expect(keys.failures()).toEqual([{ version: 1, reason: 'wrong-key', answers: 'a' }])
  })

  test('that are wrong are tried at growing intervals, and immediately when a question names them', async () => {
    const { keys, token } = fixture()
    token.fault = new KeyturnError('wrong-key', 'another key')
    keys.note([row(1)], 1)
    for (let beat = 0; beat < 50; beat += 1) await keys.refresh(limits)
    expect(token.proofs).toBe(2)
    keys.retryNow()
    await keys.refresh(limits)
    expect(token.proofs).toBe(3)
    token.fault = null
    keys.note([row(1)], 1, { nonce: 'a', target: null })
    expect(await keys.refresh(limits)).toMatchObject([{ version: 1, answers: 'a' }])
  })

  test('of a token that does not answer are unloaded, and are loaded again with it', async () => {
    const { keys, token } = fixture()
    keys.note([row(1)], 1, { nonce: 'a', target: 1 })
    await keys.refresh(limits)
    token.fault = new KeyturnError('hsm-away', 'no token')
    expect(await keys.refresh(limits)).toEqual([])
    expect(keys.failures()).toMatchObject([{ version: 1, reason: 'not-loaded' }])
    token.fault = null
    expect(await keys.refresh(limits)).toMatchObject([{ version: 1, answers: 'a' }])
  })

  test('do not wait for a token that hangs, and call it only once', async () => {
    let asked = 0
    const provider = {
      loaded: () => [1],
      check: () => Promise.resolve(0),
      prove: () => {
        asked += 1
        return new Promise(() => undefined)
      },
    } as unknown as KekProvider
    const keys = new LoadedKeys({ provider, clock, onFailure: () => undefined })
    keys.note([row(1)], 1)
    expect(await keys.refresh(limits)).toEqual([])
    expect(await keys.refresh(limits)).toEqual([])
    expect(asked).toBe(1)
    expect(keys.isLoaded(1)).toBe(true)
  })

  test('that hang while they are loaded cause no second round', async () => {
    // There is no other way to have a token that hangs in this process.
    const provider = {
      loaded: () => [],
      load: () => new Promise(() => undefined),
    } as unknown as KekProvider
    const keys = new LoadedKeys({ provider, clock, onFailure: () => undefined })
    expect(keys.note([row(1)], 1)).toBe(true)
    expect(await keys.refresh(limits)).toEqual([])
    expect(keys.note([row(1)], 1)).toBe(false)
  })
})

function clock() {
  return { monotonicMs: 0, bootMs: 0, wallMs: 0 }
}
