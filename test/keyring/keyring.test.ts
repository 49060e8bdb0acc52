import { MongoClient } from 'mongodb'
import { describe, expect, inject, test } from 'vitest'
import { KeyturnError } from '../../contracts/errors.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { openTestFleet, secretPlace } from './test-fleet.ts'

describe('a keyring', () => {
  test('opens what it sealed, through the database, for bytes and text', async () => {
    const fleet = await openTestFleet()
    const keyring = await fleet.keyring()
    const records = fleet.store.db.collection<{ _id: string }>('secrets')
    const value = await keyring.seal('grüße', secretPlace)
    const token = await keyring.seal(Buffer.from([0, 1, 2]), {
      ...secretPlace,
      field: 'nested.token',
    })
    await records.insertOne({ _id: 'one', value, nested: { token } } as { _id: string })
    const stored = await records.findOne<Record<string, Record<string, unknown>>>({ _id: 'one' })
    expect(stored?.['value']).toMatchObject({ format: 1, kek_version: 1, provider: 'env' })
    expect((await keyring.open(stored?.['value'], secretPlace)).toString()).toBe('grüße')
    const opened = await keyring.open(stored?.['nested']?.['token'], {
      collection: 'secrets',
      field: 'nested.token',
      id: 'one',
    })
    expect([...opened]).toEqual([0, 1, 2])
  })

  test('opens an envelope in no other record, field or collection', async () => {
    const keyring = await (await openTestFleet()).keyring()
    const envelope = await keyring.seal('x', secretPlace)
    for (const other of [{ id: 'two' }, { field: 'nested.token' }, { collection: 'others' }]) {
      await expect(keyring.open(envelope, { ...secretPlace, ...other })).rejects.toMatchObject({
        code: 'envelope-unreadable',
      })
    }
  })

  test('seals and opens batches, and reports each bad envelope separately', async () => {
    const keyring = await (await openTestFleet()).keyring()
    const places = Array.from({ length: 50 }, (_, id) => ({ ...secretPlace, id }))
    const envelopes = await keyring.sealMany(
      places.map((place) => ({ plaintext: `secret ${place.id}`, place })),
    )
    expect(new Set(envelopes.map(({ dek_wrapped }) => dek_wrapped.toString('hex'))).size).toBe(50)
    envelopes[7]!.dek_wrapped[3]! ^= 1
    envelopes[8]!.ciphertext[0]! ^= 1
    const requests = envelopes.map((envelope, id) => ({ envelope, place: places[id]! }))
    const opened = await keyring.openMany([...requests, { envelope: {}, place: places[0]! }])
    const codes = opened.map((result) => (result instanceof KeyturnError ? result.code : 'ok'))
    expect(codes.slice(6, 10)).toEqual(['ok', 'envelope-unreadable', 'envelope-unreadable', 'ok'])
    expect(codes[50]).toBe('malformed')
    expect(codes.filter((code) => code === 'ok')).toHaveLength(48)
    expect(String(opened[49])).toBe('secret 49')
    expect(await keyring.sealMany([])).toEqual([])
    expect(await keyring.openMany([])).toEqual([])
  })

  test('refuses to seal in a place where no rotation would find the envelope', async () => {
    const keyring = await (await openTestFleet()).keyring()
    await expect(keyring.seal('x', { ...secretPlace, field: 'typo' })).rejects.toMatchObject({
      code: 'config-invalid',
      message: 'no envelope is configured at "secrets: typo"',
    })
  })

  test('names the provider of an envelope that is not its own', async () => {
    const keyring = await (await openTestFleet()).keyring()
    const envelope = { ...(await keyring.seal('x', secretPlace)), provider: 'pkcs11' }
    await expect(keyring.open(envelope, secretPlace)).rejects.toMatchObject({
      code: 'wrong-provider',
    })
  })

  test('opens on an empty database, rejects with not-installed, and seals once a version is installed', async () => {
    const fleet = await openTestFleet({ versions: [] })
    const keyring = await fleet.keyring()
    expect(() => keyring.active()).toThrow(expect.objectContaining({ code: 'not-installed' }))
    await expect(keyring.seal('x', secretPlace)).rejects.toMatchObject({ code: 'not-installed' })
    await fleet.install(1)
    await waitUntil(
      'it never sealed',
      () => keyring.seal('x', secretPlace).then(Boolean, () => null),
      {
        withinMs: 60_000,
      },
    )
    expect(keyring.active()).toBe(1)
  })

  test('follows the active version without a restart, and still opens envelopes of the previous one', async () => {
    const fleet = await openTestFleet()
    const keyring = await fleet.keyring()
    const switches: object[] = []
    keyring.on('version-switched', (event) => switches.push(event))
    const old = await keyring.seal('old', secretPlace)
    await fleet.install(2)
    await fleet.activate(2)
    await waitUntil('it never switched', () => keyring.active() === 2, { withinMs: 60_000 })
    expect(switches).toEqual([{ from: 1, to: 2, epoch: 2 }])
    expect((await keyring.seal('new', secretPlace)).kek_version).toBe(2)
    expect(String(await keyring.open(old, secretPlace))).toBe('old')
  })

  test('works with the application’s own client and leaves it open', async () => {
    const fleet = await openTestFleet()
    // An application may have such settings; the keystore must not be read with them.
    const client = new MongoClient(inject('mongoUri'), {
      promoteBuffers: true,
      promoteValues: false,
      useBigInt64: false,
      readConcernLevel: 'local',
      ignoreUndefined: true,
    })
    const keyring = await fleet.keyring({ client })
    const envelope = await keyring.seal('x', secretPlace)
    expect(String(await keyring.open(envelope, secretPlace))).toBe('x')
    await keyring.close()
    expect(await client.db(fleet.name).command({ ping: 1 })).toBeDefined()
    await client.close()
  })

  test('rejects every call after it was closed, and its heartbeat is gone', async () => {
    const fleet = await openTestFleet()
    const keyring = await fleet.keyring()
    const envelope = await keyring.seal('x', secretPlace)
    expect(await fleet.heartbeats()).toHaveLength(1)
    await keyring.close()
    await keyring.close()
    for (const use of [
      () => keyring.seal('x', secretPlace),
      () => keyring.open(envelope, secretPlace),
      () => keyring.sealMany([]),
      () => keyring.openMany([]),
    ]) {
      await expect(use()).rejects.toMatchObject({ code: 'pool-closed' })
    }
    expect(await fleet.heartbeats()).toEqual([])
  })
})
