import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isReady,
  fleetReadiness,
  mayStillAnswer,
  type ReadinessFacts,
} from '../../protocol/readiness.ts'
import { readinessHints } from '../../contracts/fleet.ts'
import { at, heartbeat, host, nonce, proof } from './fleet-facts.ts'

const answer = (id: string, fields: object = {}) => {
  const [node = '', boot = ''] = id.split('/')
  return { node, boot, pid: 7, reason: null, opened: true, provenAt: at(2), ...fields }
}
const facts = (fields: Partial<ReadinessFacts> = {}): ReadinessFacts => ({
  target: 2,
  nonces: [nonce],
  settings: 'aa',
  roster: [host('vm-a'), host('vm-b')],
  heartbeats: [heartbeat('vm-a/1'), heartbeat('vm-b/1', { role: 'app' })],
  answers: [answer('vm-a/1')],
  ...fields,
})
const reasons = (fields: Partial<ReadinessFacts>) =>
  fleetReadiness(facts(fields)).map(({ node, reason }) => `${node}: ${reason ?? 'ready'}`)

describe('readiness', () => {
  test('holds when workers answer and applications prove after the question', () => {
    const nodes = fleetReadiness(facts())
    expect(isReady(nodes)).toBe(true)
    expect(nodes).toMatchObject([
      { node: 'vm-a', role: 'worker', pid: 7, ready: true, reason: null, provenAt: at(2) },
      { node: 'vm-b', role: 'app', pid: 7, ready: true, reason: null, provenAt: at(4) },
    ])
  })

  test('does not hold for an empty fleet', () => {
    expect(isReady(fleetReadiness(facts({ roster: [], heartbeats: [], answers: [] })))).toBe(false)
  })

  test('reports a host that was ever seen as missing', () => {
    expect(reasons({ roster: [host('vm-a'), host('vm-b'), host('vm-z')] })).toContain(
      'vm-z: missing',
    )
  })

  test('skips decommissioned hosts and ephemeral nodes that are gone', () => {
    const gone = { ageMs: 91_000, at: at(-90) }
    const roster = [
      host('vm-a'),
      host('vm-b'),
      host('vm-c', { decommissioned: true }),
      host('pod-1', { kind: 'ephemeral' }),
    ]
    const heartbeats = [
      ...facts().heartbeats,
      heartbeat('pod-1/1', { role: 'app', ...gone }),
      heartbeat('vm-c/1', { role: 'app', ...gone }),
    ]
    expect(reasons({ roster, heartbeats })).toEqual(['vm-a: ready', 'vm-b: ready'])
  })

  test('asks an ephemeral node while its lease runs, and a decommissioned one that still beats', () => {
    const roster = [host('pod-1', { kind: 'ephemeral' }), host('vm-c', { decommissioned: true })]
    const heartbeats = [
      heartbeat('pod-1/1', { role: 'app', loaded: [proof(2, null)] }),
      heartbeat('vm-c/1', { role: 'app', loaded: [proof(2, null)] }),
    ]
    expect(reasons({ roster, heartbeats, answers: [] })).toEqual(['pod-1: stale', 'vm-c: stale'])
  })

  test('does not accept a worker by its heartbeat alone', () => {
    expect(reasons({ answers: [] })).toContain('vm-a: stale')
  })

  test('checks each of two workers with the same node name', () => {
    const second = heartbeat('vm-a/2', { pid: 8, loaded: [proof(1)] })
    const heartbeats = [...facts().heartbeats, second]
    expect(reasons({ heartbeats })).toEqual(['vm-a: ready', 'vm-a: not-loaded', 'vm-b: ready'])
  })

  test.each([
    ['its key is another', { reason: 'wrong-key' }, 'wrong-key'],
    ['another node could not open its nonce', { opened: false }, 'wrong-key'],
    ['nobody answered whether its nonce opens', { opened: null }, 'stale'],
    ['its key refuses to encrypt', { reason: 'cannot-encrypt' }, 'cannot-encrypt'],
  ])('refuses a worker when %s', (_title, fields, reason) => {
    expect(reasons({ answers: [answer('vm-a/1', fields)] })).toContain(`vm-a: ${reason}`)
  })

  test('refuses a worker that answers but cannot heartbeat', () => {
    const heartbeats = [heartbeat('vm-b/1', { role: 'app' })]
    expect(reasons({ heartbeats })).toContain('vm-a: lease-expired')
    const silent = [heartbeat('vm-a/1', { ageMs: 95_000 }), ...heartbeats]
    expect(reasons({ heartbeats: silent })).toContain('vm-a: lease-expired')
  })

  test.each([
    ['an answer to another question', { loaded: [proof(2, 'older')] }, 'stale'],
    ['a proof that answers no question', { loaded: [proof(2, null)] }, 'stale'],
    ['an answer of another version only', { loaded: [proof(1), proof(2, null)] }, 'stale'],
    [
      'a failure of before the question',
      { loaded: [], notLoaded: [{ version: 2, reason: 'wrong-key' as const, answers: null }] },
      'stale',
    ],
    [
      'a failure that repeats the nonce',
      { loaded: [], notLoaded: [{ version: 2, reason: 'wrong-key' as const, answers: nonce }] },
      'wrong-key',
    ],
    ['a heartbeat that lacks the version', { loaded: [] }, 'not-loaded'],
    [
      'a heartbeat that says why',
      { loaded: [], notLoaded: [{ version: 2, reason: 'material-missing' as const }] },
      'material-missing',
    ],
    ['a document whose lease is over', { ageMs: 90_001 }, 'stale'],
    ['other settings', { settings: 'bb' }, 'config-differs'],
  ])('refuses an application with %s', (_title, fields, reason) => {
    const heartbeats = [heartbeat('vm-a/1'), heartbeat('vm-b/1', { role: 'app', ...fields })]
    expect(reasons({ heartbeats })).toEqual(['vm-a: ready', `vm-b: ${reason}`])
  })

  test('accepts an application that omits its settings', () => {
    const heartbeats = [
      heartbeat('vm-a/1'),
      heartbeat('vm-b/1', { role: 'app', settings: null, notLoaded: [] }),
    ]
    expect(isReady(fleetReadiness(facts({ heartbeats })))).toBe(true)
  })

  test('ignores a process that was replaced, and names one that was frozen', () => {
    const silent = heartbeat('vm-b/0', { role: 'app', pid: 3, at: at(-100), ageMs: 105_000 })
    const older = heartbeat('vm-b/1', { role: 'app', startedAt: at(-500) })
    const newer = heartbeat('vm-b/1', { role: 'app', startedAt: at(-50) })
    const first = heartbeat('vm-a/1')
    expect(reasons({ heartbeats: [first, silent, older] })).toContain('vm-b: stale')
    expect(reasons({ heartbeats: [first, silent, newer] })).toEqual(['vm-a: ready', 'vm-b: ready'])
  })

  test('waits only for live processes that have not answered and for starting ones', () => {
    const waits = (fields: Partial<ReadinessFacts>) => {
      const seen = facts(fields)
      return mayStillAnswer(fleetReadiness(seen), seen, 10_000)
    }
    const comesUp = (seenMsAgo: number | null) => [host('vm-a'), host('vm-c', { seenMsAgo })]
    expect(waits({ roster: comesUp(300) })).toBe(true)
    expect(waits({ roster: comesUp(10_001) })).toBe(false)
    expect(waits({ roster: comesUp(null) })).toBe(false)
    expect(waits({ answers: [] })).toBe(true)
    expect(waits({ answers: [answer('vm-a/1', { opened: false })] })).toBe(false)
    expect(waits({ answers: [], roster: comesUp(20_000) })).toBe(false)
    expect(waits({ heartbeats: [heartbeat('vm-a/1', { ageMs: 100_000 })], answers: [] })).toBe(
      false,
    )
  })

  test('waits for a process that started in a container, although its dead predecessor also had pid 1', () => {
    const app = { role: 'app', pid: 1 } as const
    const dead = heartbeat('vm-b/a', { ...app, at: at(-95), ageMs: 100_000 })
    const born = heartbeat('vm-b/b', {
      ...app,
      startedAt: at(-50),
      at: at(-1),
      ageMs: 6_000,
      loaded: [proof(2, null)],
    })
    const seen = facts({ heartbeats: [heartbeat('vm-a/1'), dead, born] })
    const nodes = fleetReadiness(seen)
    expect(nodes.map(({ node, reason }) => `${node}: ${reason ?? 'ready'}`)).toEqual([
      'vm-a: ready',
      'vm-b: stale',
    ])
    expect(mayStillAnswer(nodes, seen, 10_000)).toBe(true)
  })

  test('never holds while a live process has not proven the target after the question', () => {
    const process = fc.record({
      role: fc.constantFrom('worker' as const, 'app' as const),
      at: fc.integer({ min: -20, max: 20 }).map(at),
      ageMs: fc.constantFrom(1000, 100_000),
      loaded: fc.array(
        fc.record({
          version: fc.constantFrom(1, 2),
          provenAt: fc.integer({ min: -20, max: 20 }).map(at),
          answers: fc.constantFrom(null, nonce, 'older'),
        }),
        { maxLength: 1 },
      ),
    })
    fc.assert(
      fc.property(fc.array(process, { minLength: 1, maxLength: 5 }), (processes) => {
        const heartbeats = processes.map((fields, index) => heartbeat(`n${index}/1`, fields))
        const ready = isReady(fleetReadiness(facts({ roster: [], heartbeats, answers: [] })))
        const proven = heartbeats
          .filter(({ ageMs }) => ageMs < 90_000)
          .every(
            (one) =>
              one.role === 'app' &&
              one.loaded.some(({ version, answers }) => version === 2 && answers === nonce),
          )
        if (ready) expect(proven).toBe(true)
      }),
    )
  })
})

test.each(Object.keys(readinessHints))(
  'docs/fleet.md has a row with a hint for the reason %s',
  (reason) => {
    const page = readFileSync(new URL('../../docs/fleet.md', import.meta.url), 'utf8')
    const row = page.split('\n').find((line) => line.startsWith(`| \`${reason}\` |`))
    const [, , seen = '', hint = ''] = (row ?? '').split('|').map((cell) => cell.trim())
    expect([seen, hint]).not.toContain('')
  },
)
