import { describe, expect, test } from 'vitest'
import type { Guard } from '../../contracts/views.ts'
import type { HeartbeatFact } from '../../protocol/facts.ts'
import type { RemovalFacts } from '../../protocol/guard-facts.ts'
import { refusalOf, removalGuards } from '../../protocol/removal-guards.ts'
import { at, heartbeat, host } from './fleet-facts.ts'
import { removalFactsOf } from './removal-facts-of.ts'

const day = 86_400
const facts = removalFactsOf
const failing = (fields: Partial<RemovalFacts>) =>
  removalGuards(facts(fields))
    .filter(({ ok }) => !ok)
    .map(({ guard, detail }) => `${guard}: ${detail}`)

describe('the guards of a removal', () => {
  test('are eleven, and each is shown with a sentence', () => {
    const guards = removalGuards(facts())
    expect(guards.map(({ guard }) => guard)).toEqual([
      'not-active',
      'no-rotation',
      'fleet-past',
      'settings-agree',
      'census-zero',
      'quarantine-empty',
      'not-used',
      'backup-window',
      'backups',
      'approvals',
      'fence',
    ])
    expect(guards.every(({ ok }) => ok)).toBe(true)
    expect(guards.every(({ detail }) => detail.length > 10)).toBe(true)
  })

  test('fail for envelopes under a version that has no row', () => {
    expect(failing({ unknown: [7, 9] })).toEqual([
      "settings-agree: envelopes are under version 7, 9, of which this keystore has no row: they are another's, or its row is gone",
    ])
    expect(refusalOf(1, removalGuards(facts({ unknown: [7] })))?.code).toBe('version-unknown')
  })

  test('are all evaluated, also when the first one fails', () => {
    expect(failing({ active: 1, rotation: 'r1', remaining: 3, fence: 'refused' })).toEqual([
      'not-active: version 1 is active: rotate to another one first',
      'no-rotation: rotation r1 is marked on version 1',
      'census-zero: 3 envelopes are under version 1',
      'fence: no fence can hold: grant collMod, let the rules of the collections be enforced, or use --without-fence',
    ])
  })

  test.each([
    ['a host without a process', [], 'vm-a has no live process'],
    [
      'a process under the version',
      [heartbeat('vm-a/1', { current: 1, epoch: 3 })],
      'vm-a (worker, pid 7) reports version 1 at epoch 3',
    ],
    [
      'a process at an epoch from before it was left',
      [heartbeat('vm-a/1', { current: 2, epoch: 1 })],
      'vm-a (worker, pid 7) reports version 2 at epoch 1',
    ],
    [
      'a silent document beside a live one',
      [
        heartbeat('vm-a/1', { current: 2, epoch: 2 }),
        heartbeat('vm-a/0', { current: 1, ageMs: 1e6, role: 'app', pid: 3 }),
      ],
      `vm-a (app, pid 3) reports version 1 at epoch 1: silent, forgotten after ${at(300)}`,
    ],
  ])('refuse with fleet-past: %s', (_title, heartbeats, detail) => {
    expect(failing({ heartbeats })).toEqual([`fleet-past: ${detail}`])
  })

  test('say when a silent process that is behind will be forgotten', () => {
    const current = heartbeat('vm-a/1', { current: 2, epoch: 2 })
    const silent = (boot: number, expiresAt: string) =>
      heartbeat(`vm-a/${boot}`, { current: 1, ageMs: 1e6, settings: 'bb', expiresAt })
    const found = (heartbeats: HeartbeatFact[]) =>
      removalGuards(facts({ settings: 'aa', heartbeats })).filter(({ ok }) => !ok)
    expect(found([current, silent(2, at(60)), silent(3, at(40))])).toMatchObject([
      { guard: 'fleet-past', until: at(60) },
      { guard: 'settings-agree', until: at(60) },
    ])
    // A live process has to switch, and a host without one has to come back: no time cures that.
    const live = heartbeat('vm-a/4', { current: 1 })
    expect(found([current, silent(2, at(60)), live])[0]).not.toHaveProperty('until')
    expect(found([silent(2, at(60))])[0]).not.toHaveProperty('until')
  })

  test('fail while a process has seen a newer state, also for a version that was never active', () => {
    const ahead = { heartbeats: [heartbeat('vm-a/1', { current: null, epoch: 4 })] }
    for (const activatedAt of [facts().activatedAt, null]) {
      const guards = removalGuards(facts({ ...ahead, activatedAt, leftAt: activatedAt }))
      expect(refusalOf(1, guards)).toEqual({
        code: 'keystore-older',
        message: 'version 1 may not be removed: fleet-past',
        hint: 'vm-a (worker, pid 7) has seen epoch 4, the keystore has 3: if an older state was restored, run keyturn setup --restored',
      })
    }
  })

  test('treat a version that a restore marked as left as used, although it was never active here', () => {
    const left = { activatedAt: null, leftAt: at(-10), fence: 'missing' } as const
    const behind = [heartbeat('vm-a/1', { current: 1, epoch: 1 })]
    const names = removalGuards(facts({ ...left, heartbeats: behind }))
      .filter(({ ok }) => !ok)
      .map(({ guard }) => guard)
    expect(names).toEqual(['fleet-past', 'backup-window', 'fence'])
    expect(failing({ ...left, leftAt: null, heartbeats: behind })).toEqual([])
  })

  test('ignore decommissioned hosts and ephemeral nodes that are gone', () => {
    const roster = [
      host('vm-a'),
      host('vm-b', { decommissioned: true }),
      host('pod-1', { kind: 'ephemeral' }),
    ]
    const heartbeats = [
      ...facts().heartbeats,
      heartbeat('pod-1/1', { current: 1, ageMs: 1e6, role: 'app' }),
    ]
    expect(failing({ roster, heartbeats })).toEqual([])
  })

  test('count the backup window from the end of settle, and start again after another activation', () => {
    expect(failing({ leftAt: at(-29 * day) })[0]).toMatch(/^backup-window: left at .* 24 h more$/)
    expect(failing({ leftAt: null })[0]).toMatch(/^backup-window: no rotation has settled/)
    expect(failing({ activatedAt: at(-day) })[0]).toMatch(/^backup-window: no rotation has settled/)
    expect(failing({ activatedAt: null, leftAt: null, leftEpoch: null })).toEqual([])
  })

  test('end a window only when both clocks say so', () => {
    const clock = (ownNow: string, now = at(0)) => {
      const found = removalGuards(facts({ leftAt: at(-30 * day), now, ownNow }))
      return found.find(({ guard }) => guard === 'backup-window')
    }
    expect(clock(at(0))).toMatchObject({ ok: true })
    expect(clock(at(-2))).toMatchObject({ ok: false, until: at(0) })
    // Either clock may be ahead.
    for (const apart of [clock(at(-301)), clock(at(301)), clock(at(-day), at(0))]) {
      expect(apart).toMatchObject({ ok: false, code: 'clock-differs' })
      expect(refusalOf(1, [apart as Guard])?.code).toBe('clock-differs')
    }
  })

  test('require the recorded settings in every process', () => {
    const [one] = facts().heartbeats
    if (one === undefined) throw new Error('no heartbeat')
    const beats = (settings: string | null) => ({ heartbeats: [{ ...one, settings }] })
    expect(failing({ settings: 'aa', ...beats('aa') })).toEqual([])
    expect(failing({ settings: 'aa', ...beats(null) })).toEqual([])
    const [refused] = failing({ settings: 'aa', ...beats('bb') })
    expect(refused).toMatch(/^settings-agree: settings differ on vm-a/)
    const guards = removalGuards(facts({ settings: 'aa', ...beats('bb') }))
    expect(refusalOf(1, guards)?.code).toBe('config-differs')
  })

  test('require only that nothing needs a version that was never active', () => {
    const unused = { activatedAt: null, leftAt: null, leftEpoch: null, heartbeats: [] }
    expect(failing({ ...unused, fence: 'missing', ownNow: at(9 * day) })).toEqual([])
    const needed = { active: 1, rotation: 'r1', remaining: 1, approvalsRequired: 1 }
    expect(failing({ ...unused, ...needed }).map((each) => each.split(':')[0])).toEqual([
      'not-active',
      'no-rotation',
      'census-zero',
      'approvals',
    ])
  })

  test('do not count one person twice', () => {
    const approvalsRequired = 2
    expect(failing({ approvalsRequired, approvedBy: ['bob', 'bob'] })).toEqual([
      "approvals: 1 of 2 approvals, the requester's own not counted",
    ])
    expect(failing({ approvalsRequired, approvedBy: ['bob', 'eve'] })).toEqual([])
  })

  test('fail for a use since the request, and name who cannot tell', () => {
    const place = { collection: 'certificates', field: 'key' }
    const used = { node: 'app-1', pid: 9, role: 'app', ...place } as const
    const old = { ...used, count: 4, lastAt: at(-20) }
    const last = { ...used, count: 1, lastAt: at(-10) }
    const mute = heartbeat('py-1/1', { current: 2, epoch: 2, role: 'app', reportsUses: false })
    const heartbeats = [...facts().heartbeats, mute]
    // Nothing is recorded before a request; what was before it is another's.
    expect(failing({ uses: [old, last] })).toEqual([])
    expect(failing({ uses: [old], requestedAt: at(-15), heartbeats })).toEqual([])
    expect(failing({ uses: [last, old], requestedAt: at(-15), heartbeats })).toEqual([
      `not-used: app-1 (app, pid 9) used it once for certificates.key, last at ${at(-10)}; cannot tell: py-1 (app, pid 7)`,
    ])
    const passed = removalGuards(facts({ requestedAt: at(-15), heartbeats }))
    expect(passed.find(({ guard }) => guard === 'not-used')).toEqual({
      guard: 'not-used',
      ok: true,
      detail: `version 1 was not used since ${at(-15)}; cannot tell: py-1 (app, pid 7)`,
    })
    expect(failing({ malformedUses: ['"x": last_at'] })[0]).toMatch(/^not-used: .*"x": last_at/)
  })

  test('count an odd envelope as one that may need the version', () => {
    expect(failing({ odd: 3 })).toEqual([
      'census-zero: 3 odd envelopes may be: keyturn quarantine scan',
    ])
    expect(failing({ oddQuarantined: 2 })[0]).toMatch(/^quarantine-empty: 2 odd envelopes are/)
    expect(failing({ oddQuarantined: 2, acceptQuarantine: true })).toEqual([])
  })

  test('do not pass a census of zero if a collection is lost', () => {
    const lost = [{ code: 'collection-missing' as const, message: "collection 'x' is missing" }]
    expect(failing({ lost })).toEqual(["census-zero: collection 'x' is missing"])
    expect(removalGuards(facts({ lost }))).toContainEqual(
      expect.objectContaining({ guard: 'census-zero', code: 'collection-missing' }),
    )
  })

  test('require the quarantine to be empty or accepted, and the fence to be raised or waived', () => {
    expect(failing({ quarantined: 2 })[0]).toMatch(/^quarantine-empty: 2 envelopes/)
    expect(failing({ quarantined: 2, acceptQuarantine: true })).toEqual([])
    expect(failing({ fence: 'missing' })[0]).toMatch(/^fence: /)
    expect(failing({ fence: 'without' })).toEqual([])
  })
})
