import { afterEach, describe, expect, test } from 'vitest'
import { scanUnwrap } from '../../sweep/scan-unwrap.ts'
import { collection, field, names, openFixture, type Fixture } from './fixture.ts'

let fixture: Fixture
afterEach(async () => fixture.close())

function scan() {
  return scanUnwrap({
    store: fixture.store,
    provider: fixture.provider,
    install: fixture.install,
    collections: [{ name: collection, envelopes: [field] }],
    page: 50,
    onProgress: () => undefined,
    signal: new AbortController().signal,
  })
}

describe('scanUnwrap', () => {
  test('opens every envelope of every version', async () => {
    fixture = await openFixture()
    await fixture.fill(names(120), 1)
    await fixture.fill(names(80, 's'), 2)
    expect(await scan()).toEqual({ opened: 200, failed: [] })
  })

  test('names each envelope that does not open, with its code', async () => {
    fixture = await openFixture()
    const [first, second] = await fixture.seal(names(2))
    await fixture.insert([
      { ...first, _id: 'moved' },
      { ...second, secret: { ...second!.secret, dek_wrapped: 'text' } },
      // Odd: of no version, so `scan` lists it by itself.
      { _id: 'odd', secret: { kek_version: 1 } },
    ])
    await fixture.fill(names(10, 's'))
    expect(await scan()).toEqual({
      opened: 10,
      failed: [
        { collection, id: 'moved', field, kekVersion: 1, code: 'envelope-unreadable' },
        { collection, id: 'r000001', field, kekVersion: 1, code: 'malformed' },
      ],
    })
  })

  test('fails the envelopes of a version that is not loaded with kek-not-loaded', async () => {
    fixture = await openFixture()
    await fixture.fill(names(3), 1)
    await fixture.fill(names(4, 's'), 2)
    await fixture.provider.unload(1)
    const { opened, failed } = await scan()
    expect(opened).toBe(4)
    expect(failed.map(({ code }) => code)).toEqual(Array(3).fill('kek-not-loaded'))
  })
})
