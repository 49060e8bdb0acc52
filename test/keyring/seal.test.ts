import { describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import type { FleetMember } from '../../keyring/membership.ts'
import { openAll } from '../../keyring/open.ts'
import { sealAll, type KeyringParts } from '../../keyring/seal.ts'
import type { KekProvider } from '../../providers/provider.ts'

/** A provider that keeps each DEK instead of wrapping it, and a member whose lease and version the test can change. */
function fakes(
  onWrap: (
    state: { version: number; leaseOk: boolean; isProofOld: boolean },
    wraps: number,
  ) => void,
) {
  const seen: Buffer[] = []
  const given: { version: number; dek: string }[] = []
  const counted: [number, number][] = []
  const state = { version: 1, leaseOk: true, isProofOld: false }
  const provider = {
    name: 'env',
    wrap: (version: number, deks: { dek: Buffer }[]) => {
      for (const { dek } of deks) {
        seen.push(dek)
        given.push({ version, dek: dek.toString('hex') })
      }
      onWrap(state, given.length)
      return Promise.resolve(
        deks.map(({ dek }) => ({
          iv: Buffer.alloc(12),
          wrapped: Buffer.concat([dek, Buffer.alloc(16)]),
        })),
      )
    },
    unwrap: (_version: number, sealed: { wrapped: Buffer }[]) => {
      const deks = sealed.map(({ wrapped }) => Buffer.from(wrapped.subarray(0, 32)))
      seen.push(...deks)
      return Promise.resolve(deks)
    },
  } as unknown as KekProvider
  const member = {
    requireLease: () => {
      Object.assign(state, { leaseOk: true, isProofOld: false })
      return Promise.resolve()
    },
    requireVersion: () => Promise.resolve(),
    assertLease: () => {
      if (state.isProofOld) throw new KeyturnError('lease-expired', 'the proof is old')
    },
    countWraps: (version: number, wraps: number) => counted.push([version, wraps]),
    state: () => ({ active: { version: state.version, epoch: 1 }, leaseOk: state.leaseOk }),
  } as unknown as FleetMember
  const parts: KeyringParts = { install: 'test', provider, member }
  return { parts, seen, given, counted }
}

const place = { collection: 'secrets', field: 'value', id: 1 }
const isWiped = (bytes: Buffer) => bytes.every((byte) => byte === 0)

describe('sealing', () => {
  test('discards a wrap that is returned after the lease has expired, and makes a new one', async () => {
    const { parts, given, counted } = fakes((state, wraps) => {
      if (wraps === 1) Object.assign(state, { leaseOk: false, version: 2 })
    })
    const [envelope] = await sealAll(parts, [{ plaintext: 'x', place }])
    expect(given.map(({ version }) => version)).toEqual([1, 2])
    expect(envelope?.kek_version).toBe(2)
    expect(counted).toEqual([[1, 1], [2, 1]]) // prettier-ignore
  })

  test('discards a wrap if another version became active while it was made', async () => {
    const { parts } = fakes((state) => (state.version = 2))
    const [envelope] = await sealAll(parts, [{ plaintext: 'x', place }])
    expect(envelope?.kek_version).toBe(2)
  })

  test('discards a wrap whose proof became older than a lease while it was made', async () => {
    const { parts, given } = fakes((state, wraps) => (state.isProofOld = wraps === 1))
    await sealAll(parts, [{ plaintext: 'x', place }])
    expect(given).toHaveLength(2)
  })

  test('rejects with lease-expired when every wrap is returned too late', async () => {
    const { parts, seen } = fakes((state) => (state.leaseOk = false))
    await expect(sealAll(parts, [{ plaintext: 'x', place }])).rejects.toMatchObject({
      code: 'lease-expired',
    })
    expect(seen).toHaveLength(3)
    expect(seen.every(isWiped)).toBe(true)
  })

  test('uses a fresh data key for each field and overwrites all of them', async () => {
    const { parts, seen, given } = fakes(() => undefined)
    await sealAll(parts, [
      { plaintext: 'x', place },
      { plaintext: 'y', place: { ...place, id: 2 } },
    ])
    expect(new Set(given.map(({ dek }) => dek)).size).toBe(2)
    expect(seen.every(isWiped)).toBe(true)
  })

  test('overwrites data keys also when the provider fails, or a place cannot be sealed for', async () => {
    const { parts, seen } = fakes(() => {
      throw new KeyturnError('hsm-away', 'the token is away')
    })
    await expect(sealAll(parts, [{ plaintext: 'x', place }])).rejects.toMatchObject({
      code: 'hsm-away',
    })
    await expect(
      sealAll(parts, [{ plaintext: 'x', place: { ...place, id: undefined } }]),
    ).rejects.toMatchObject({ code: 'id-unsupported' })
    expect(seen.every(isWiped)).toBe(true)
  })

  test('does not change the caller’s plaintext', async () => {
    const plaintext = Buffer.from('mine')
    await sealAll(fakes(() => undefined).parts, [{ plaintext, place }])
    expect(plaintext.toString()).toBe('mine')
  })
})

describe('opening', () => {
  test('overwrites data keys, also of envelopes that do not open', async () => {
    const { parts, seen } = fakes(() => undefined)
    const [envelope] = await sealAll(parts, [{ plaintext: 'x', place }])
    const other = { ...place, id: 2 }
    const opened = await openAll(parts, [
      { envelope, place },
      { envelope, place: other },
    ])
    expect(String(opened[0])).toBe('x')
    expect(opened[1]).toMatchObject({ code: 'envelope-unreadable' })
    expect(seen).toHaveLength(3)
    expect(seen.every(isWiped)).toBe(true)
  })
})
