import { createHash } from 'node:crypto'
import { BSON } from 'mongodb'
import { expect, test } from 'vitest'
import { settingsOf } from '../../config/settings.ts'
import { settingsHash } from '../../store/settings-hash.ts'
import { approverKey } from '../support/approvers.ts'
import { least, load } from './files.ts'

const [anna, zoe] = ['anna', 'zoe'].map((name) => approverKey(name))
const file = `${least}  - { name: dns, envelopes: [b, a.x] }
removal: { undo_window: 2d }
approvals: { remove: 1, approvers: [{ name: zoë, key: "${zoe?.ssh}" }, { name: anna, key: "${anna?.ssh}" }] }
`

/** The canonical form (RFC 8785) of the settings in `file`, written out by hand. */
const collections =
  '{"collections":[{"envelopes":["private_key"],"name":"certificates"},{"envelopes":["a.x","b"],"name":"dns"}]'
const approvers = `[{"key":"${anna?.raw}","name":"anna"},{"key":"${zoe?.raw}","name":"zoë"}]`
const canonical = `{"approvals":{"approvers":${approvers},"remove":1},${collections.slice(1)},"removal":{"undoWindowMs":172800000}}`

test('the hash is SHA-256 over the canonical form, written out here by hand', () => {
  const hash = settingsHash(settingsOf(load(file)))
  expect(hash).toHaveLength(32)
  expect(hash.toString('hex')).toBe(createHash('sha256').update(canonical).digest('hex'))
})

test('the hash leaves out settings at their defaults, written or not', () => {
  const hashOf = (text: string) => settingsHash(settingsOf(load(text))).toString('hex')
  const short = file.slice(0, file.indexOf('removal:'))
  const long = `${short}fleet: { heartbeat: 30s, lease: 90s, expire: 120s }
removal: { backup_window: 30d, undo_window: 24h }
approvals: { approvers: [], remove: 0, rotate: 0, settings: 0, store: 0, expires: 72h }
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
removal: { undo_window: 48h }
approvals:
  settings: 1
  remove: 1
  approvers: [{ name: anna, key: ${JSON.stringify(anna?.pem)} }, { name: zoë, key: "${zoe?.ssh} zoë@ops" }]
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
    file.replace('undo_window: 2d', 'undo_window: 25h'),
    file.replace('anna', 'anne'),
    file.replace('remove: 1', 'remove: 2'),
    file.replace('remove: 1', 'remove: 1, settings: 2'),
    file.replace('remove: 1', 'rotate: 1'),
    file.replace('remove: 1', 'remove: 1, store: 1'),
    file.replace('remove: 1', 'remove: 1, expires: 71h'),
    file.replace(zoe?.ssh ?? '', approverKey('eve').ssh),
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
