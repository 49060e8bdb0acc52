import { expect, test } from 'vitest'
import { chainedAudit } from '../support/chained-audit.ts'
import { hasFence } from '../../store/fence.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { places } from '../support/fleet-records.ts'
import { holdPromote } from '../support/holds.ts'

/** Windows that no test outlives: a version that was never active needs none. */
const options = {
  records: 40,
  versions: [1, 2, 3, 4],
  config: { removal: { backup_window: '30d', undo_window: '24h' } },
}
const [{ collection, field }] = places

onEachProvider('a version that was never active', options, (fleetOf, provider) => {
  test('is not discarded while a rotation is about to make it active', async () => {
    const fleet = fleetOf()
    const held = await holdPromote(fleet)
    try {
      const rotation = fleet.start('rotate', '--to-version', '2')
      await held.reached()
      for (const more of [['--dry-run'], []]) {
        const { code, json } = await fleet.cli('remove', '--version', '2', ...more)
        expect(code).toBe(3)
        expect(failing(json.guards)).toEqual(['no-rotation'])
      }
      await held.release()
      expect((await rotation.end()).code).toBe(0)
    } finally {
      await held.release()
    }
    expect(await fleet.active()).toBe(2)
    // From now on version 1 needs windows and the fence.
    const left = await fleet.cli('remove', '--version', '1', '--dry-run')
    expect({ code: left.code, failing: failing(left.json.guards) }).toEqual({
      code: 3,
      failing: ['backup-window'],
    })
    const window = left.json.guards.find(({ guard }) => guard === 'backup-window')
    expect(Date.parse(window?.until ?? '')).toBeGreaterThan(Date.now() + 29 * 24 * 3_600_000)
    expect(await actionsOf(fleet, 2)).not.toContain('version-discarded')
  })

  test('is either discarded or made active when both are asked for at once', async () => {
    const fleet = fleetOf()
    const [removal, rotation] = await Promise.all([
      fleet.cli('remove', '--version', '3'),
      fleet.start('rotate', '--to-version', '3').end(),
    ])
    const row = await readVersion(fleet.store, 3)
    const state = JSON.stringify({ removal, rotation, row })
    const isActive = (await fleet.active()) === 3
    expect(isActive, state).toBe(row?.destroyed_at === null)
    expect([removal.code, rotation.code], state).toEqual(isActive ? [3, 0] : [0, 3])
    expect((await currentRemoval(fleet.store, 3)) === null && row?.rotation === null, state).toBe(
      true,
    )
    expect(await fleet.verifyRecords()).toEqual({ [isActive ? 3 : 2]: 40 })
  })

  test('is discarded at once, with its key, and its number is never used again', async () => {
    const fleet = fleetOf()
    const dry = await fleet.must('remove', '--version', '4', '--dry-run')
    expect(dry).toMatchObject({ state: 'pre-active', dueAt: null })
    expect(failing(dry.guards)).toEqual([])
    expect(await currentRemoval(fleet.store, 4)).toBeNull()
    const withKey = provider === 'pkcs11' ? ['--destroy-hsm-key'] : []
    const end = await fleet.must('remove', '--version', '4', ...withKey)
    const hsmKey = provider === 'pkcs11' ? 'destroyed' : 'none'
    expect(end).toMatchObject({ version: 4, state: 'destroyed', dueAt: null, hsmKey })
    expect(await hasFence(fleet.store, { collection, fields: [field], version: 4 })).toBe(false)
    expect(await actionsOf(fleet, 4)).toEqual([
      'removal-requested',
      'version-discarded',
      ...(provider === 'pkcs11' ? ['hsm-key-destroying', 'hsm-key-destroyed'] : []),
    ])
    expect(await fleet.must('remove', '--version', '4')).toMatchObject({ state: 'destroyed' })
    const init = provider === 'env' ? 'env-init' : 'pkcs11-init'
    expect((await fleet.cli(init, '--version', '4')).code).toBe(3)
  })
})

function failing(guards: readonly { guard: string; ok: boolean }[]): string[] {
  return guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
}

/** Actions about removals and keys on a version, in order. */
async function actionsOf(fleet: Fleet, version: number): Promise<string[]> {
  return (await chainedAudit(fleet.store))
    .filter(({ subject }) => subject === `v${version}`)
    .map(({ action }) => action)
    .filter((action) => /^(removal|version-d|hsm-key-d)/.test(action))
}
