import { createHash } from 'node:crypto'
import { BSON } from 'mongodb'
import { expect, test } from 'vitest'
import { settingsHash, settingsOf } from '../../config/settings.ts'
import { least, load } from './files.ts'

const file = `${least}  - { name: dns, envelopes: [b, a.x] }
removal: { approvals_required: 1, approvers: [zoë, anna] }
`

/** The canonical form (RFC 8785) of the settings in `file`, written out by hand. */
const collections =
  '{"collections":[{"envelopes":["private_key"],"name":"certificates"},{"envelopes":["a.x","b"],"name":"dns"}]'
const canonical = `${collections},"removal":{"approvalsRequired":1,"approvers":["anna","zoë"]}}`

test('the hash is SHA-256 over the canonical form, written out here by hand', () => {
  const hash = settingsHash(settingsOf(load(file)))
  expect(hash).toHaveLength(32)
  expect(hash.toString('hex')).toBe(createHash('sha256').update(canonical).digest('hex'))
})

test('the hash leaves out settings at their defaults, written or not', () => {
  const hashOf = (text: string) => settingsHash(settingsOf(load(text))).toString('hex')
  const short = file.slice(0, file.indexOf('removal:'))
  const long = `${short}fleet: { heartbeat: 30s, lease: 90s, expire: 120s }
removal: { backup_window: 30d, undo_window: 24h, approvals_required: 0, approvers: [] }
`
  const expected = createHash('sha256').update(`${collections}}`).digest('hex')
  expect([hashOf(short), hashOf(long)]).toEqual([expected, expected])
})

test('the hash leaves out what setup recorded of the collections', () => {
  const settings = settingsOf(load(file))
  const recorded = settings.collections.map((one, at) => ({ ...one, uuid: `uuid-${at}` }))
  expect(settingsHash({ ...settings, collections: recorded })).toEqual(settingsHash(settings))
})

test('hosts have the same hash with lists in any order and different local settings', () => {
  const other = `log: { level: debug }
removal: { approvers: [anna, zoë], undo_window: 1d, approvals_required: 1 }
rewrap: { page: 7 }
worker: { listen: ":0" }
mongodb: { uri: "mongodb://elsewhere", database: app }
install: payments
kek: { provider: env }
fleet: { lease: 90000ms }
collections:
  - { name: dns, envelopes: [a.x, b] }
  - { envelopes: [private_key], name: certificates }
`
  expect(settingsHash(settingsOf(load(other)))).toEqual(settingsHash(settingsOf(load(file))))
})

test('every part changes the hash', () => {
  const changes = [
    file,
    file.replace('a.x', 'a.y'),
    file.replace('dns', 'dns2'),
    `${file}fleet: { heartbeat: 29s }\n`,
    `${file}fleet: { lease: 91s }\n`,
    `${file}fleet: { expire: 121s }\n`,
    file.replace('removal: {', 'removal: { backup_window: 31d,'),
    file.replace('removal: {', 'removal: { undo_window: 25h,'),
    file.replace('anna', 'anne'),
    file.replace('approvals_required: 1', 'approvals_required: 2'),
  ]
  const hashes = changes.map((text) => settingsHash(settingsOf(load(text))).toString('hex'))
  expect(new Set(hashes).size).toBe(changes.length)
})

test('survives a round trip through BSON with the same hash', () => {
  const settings = settingsOf(load(file))
  const { stored } = BSON.deserialize(BSON.serialize({ stored: settings })) as {
    stored: typeof settings
  }
  expect(settingsHash(stored)).toEqual(settingsHash(settings))
})

test('settings cannot be changed, and leave the configuration as it was', () => {
  const config = load(file)
  const settings = settingsOf(config)
  expect(() => (settings.collections as unknown[]).pop()).toThrow(TypeError)
  expect(config.collections[1]?.envelopes).toEqual(['b', 'a.x'])
})
