import { expect, test } from 'vitest'
import { VersionUses } from '../../keyring/version-uses.ts'
import type { VersionDoc } from '../../store/documents.ts'

const place = (field: string) => ({ collection: 'c', field })
const row = (version: number, removal: object | null = null) =>
  ({ _id: version, canary: {}, activated_at: new Date(0), removal }) as unknown as VersionDoc
const pending = (at?: unknown) => row(1, { request: 'r', requested_at: at })

/** A recorder whose database has the time `clock.ms`, and refuses writes while `clock.isDown`. */
function recorder() {
  const clock = { ms: 0, isDown: false }
  const written: [number, string, number][] = []
  const uses = new VersionUses({
    write: async (version, places) => {
      await Promise.resolve()
      if (clock.isDown) throw new Error('no primary')
      for (const { field, count } of places) written.push([version, field, count])
    },
    serverTime: () => new Date(clock.ms),
  })
  return { clock, written, uses }
}

test('a use between the request and the read that finds it is recorded; one before the request is not', async () => {
  const { clock, written, uses } = recorder()
  uses.follow([row(1), row(2)], 2)
  uses.note(1, [place('a'), place('a'), place('b')])
  uses.note(2, [place('a')])
  clock.ms = 50
  uses.follow([pending(new Date(40)), row(2)], 2)
  await uses.write()
  expect(written).toEqual([
    [1, 'a', 2],
    [1, 'b', 1],
  ])
  clock.ms = 60
  uses.follow([row(1), row(2)], 2)
  uses.note(1, [place('a')])
  uses.follow([pending(new Date(70)), row(2)], 2)
  await uses.write()
  expect(written).toHaveLength(2)
})

test('uses of a version that is not pending are forgotten at the next read', async () => {
  const { written, uses } = recorder()
  uses.follow([row(1), row(2)], 2)
  uses.note(1, [place('a')])
  uses.follow([row(1), row(2)], 2)
  // A request whose time cannot be read counts each use.
  uses.follow([pending(), row(2)], 2)
  await uses.write()
  expect(written).toEqual([])
  uses.note(1, [place('a')])
  await uses.write()
  expect(written).toEqual([[1, 'a', 1]])
})

test('what could not be written is kept, with what came since', async () => {
  const { clock, written, uses } = recorder()
  uses.follow([pending(), row(2)], 2)
  clock.isDown = true
  uses.note(1, [place('a')])
  await expect(uses.write()).rejects.toThrow('no primary')
  uses.note(1, [place('a')])
  await expect(uses.write()).rejects.toThrow('no primary')
  uses.follow([pending(), row(2)], 2)
  clock.isDown = false
  await uses.write()
  expect(written).toEqual([[1, 'a', 2]])
})
