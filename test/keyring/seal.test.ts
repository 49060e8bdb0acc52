import { describe, expect, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import type { FleetMember } from '../../keyring/fleet-member.ts'
import { LoadedKeys } from '../../keyring/loaded-keys.ts'
import { openAll } from '../../keyring/open.ts'
import { sealAll, type KeyringParts } from '../../keyring/seal.ts'
import type { KekProvider } from '../../providers/provider.ts'
import type { VersionDoc } from '../../store/documents.ts'

/** A provider that "wraps" by keeping what it was given, and a member whose lease and version a test can change. */
function fakes(onWrap: (state: { version: number; leaseOk: boolean }, wraps: number) => void) {
  const seen: Buffer[] = []
  const given: { version: number; dek: string }[] = []
  const counted: [number, number][] = []
  const state = { version: 1, leaseOk: true }
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
      state.leaseOk = true
      return Promise.resolve()
    },
    requireVersion: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: (version: number, wraps: number) => counted.push([version, wraps]),
    state: () => ({ active: { version: state.version, epoch: 1 }, leaseOk: state.leaseOk }),
  } as unknown as FleetMember
  const parts: KeyringParts = { install: 'test', provider, member }
  return { parts, seen, given, counted }
}

const place = { collection: 'secrets', field: 'value', id: 1 }
const isWiped = (bytes: Buffer) => bytes.every((byte) => byte === 0)

describe('sealing', () => {
  test('throws a wrap away that came back under an expired lease, and makes a new one', async () => {
    const { parts, given, counted } = fakes((state, wraps) => {
      if (wraps === 1) Object.assign(state, { leaseOk: false, version: 2 })
    })
    const [envelope] = await sealAll(parts, [{ plaintext: 'x', place }])
    expect(given.map(({ version }) => version)).toEqual([1, 2])
    expect(envelope?.kek_version).toBe(2)
    expect(counted).toEqual([[1, 1], [2, 1]]) // prettier-ignore
  })

  test('throws a wrap away when another version became active while it was made', async () => {
    const { parts } = fakes((state) => (state.version = 2))
    const [envelope] = await sealAll(parts, [{ plaintext: 'x', place }])
    expect(envelope?.kek_version).toBe(2)
  })

  test('gives up with lease-expired when every wrap comes back too late', async () => {
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

  test('leaves the caller’s plaintext as it is', async () => {
    const plaintext = Buffer.from('mine')
    await sealAll(fakes(() => undefined).parts, [{ plaintext, place }])
    expect(plaintext.toString()).toBe('mine')
  })
})

describe('opening', () => {
  test('overwrites data keys, of envelopes that do not open too', async () => {
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

describe('loaded keys', () => {
  const bytes = { value: () => new Uint8Array(32) }
  const row = {
    ...{ _id: 1, key_id: null, canary: { dek_iv: bytes, dek_wrapped: bytes, digest: bytes } },
    gcm: { iv_mode: 'caller', iv_length: 12, tag_bits: 128 },
  } as unknown as VersionDoc

  test('do not wait for a token that hangs, and do not ask it twice', async () => {
    let asked = 0
    const provider = {
      loaded: () => [1],
      prove: () => {
        asked += 1
        return new Promise(() => undefined)
      },
    } as unknown as KekProvider
    const keys = new LoadedKeys(provider, () => undefined)
    keys.note([row], 1)
    expect(await keys.refresh(20)).toEqual([])
    expect(await keys.refresh(20)).toEqual([])
    expect(asked).toBe(1)
    expect(keys.isLoaded(1)).toBe(true)
  })

  test('that hang while they are loaded are no reason for another round', async () => {
    // A token that hangs cannot be had in this process otherwise.
    const provider = {
      loaded: () => [],
      load: () => new Promise(() => undefined),
    } as unknown as KekProvider
    const keys = new LoadedKeys(provider, () => undefined)
    expect(keys.note([row], 1)).toBe(true)
    expect(await keys.refresh(20)).toEqual([])
    expect(keys.note([row], 1)).toBe(false)
  })
})
