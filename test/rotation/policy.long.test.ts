import { expect, test } from 'vitest'
import { workflowIds } from '../../contracts/names.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { lastRotation } from '../../store/rotations.ts'
import { onEachProvider } from '../support/each-provider.ts'

onEachProvider('a policy', { records: 200, versions: [1] }, (fleetOf, provider) => {
  test('installs the next version, rotates to it, and requests the removal of the old one', async () => {
    const fleet = fleetOf()
    const budget = ['--max-hsm-calls', '700']
    const set = await fleet.must(
      'policy',
      'set',
      '--every',
      '90d',
      '--remove-after',
      '30d',
      ...budget,
    )
    expect(set['policy']).toMatchObject({ maxHsmCalls: 700, removeAfterDays: 30 })
    await fleet.must('policy', 'run')
    const rotation = await fleet.until(
      'the policy does not rotate',
      async () => {
        const last = await lastRotation(fleet.store)
        return last !== null && last.outcome !== null ? last : null
      },
      60_000,
    )
    expect(rotation).toMatchObject({ from: 1, to: 2, outcome: 'completed', max_hsm_calls: 700 })
    expect(await fleet.active()).toBe(2)
    expect(await fleet.verifyRecords()).toEqual({ 2: 200 })

    const removal = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 1))
    await fleet.until('nobody asks for the removal', async () => {
      return await removal.describe().catch(() => null)
    })
    // The removal waits for thirty days; until then it can be undone.
    const policy = await fleet.until('the run does not end', async () => {
      const shown = (await fleet.must('status'))['policy'] as PolicyView
      return shown.lastRun === null ? null : shown
    })
    expect(policy).toMatchObject({
      paused: false,
      run: null,
      lastRun: { cause: 'command', rotation: rotation._id, outcome: 'completed', error: null },
      plannedRemovals: [{ version: 1, reason: null }],
    })
    if (provider === 'env') {
      await fleet.must('remove', '--version', '1', '--undo')
      expect(await removal.result()).toMatchObject({ state: 'deactivated', error: null })
      const again = await fleet.cli('remove', '--version', '1', '--undo')
      expect(again.json.error.code).toBe('no-removal')
    }
    // An operator's request does not wait for the policy's thirty days.
    expect(await fleet.must('remove', '--version', '1')).toMatchObject({ state: 'destroyed' })
    await fleet.must('policy', 'delete')
    expect((await fleet.cli('policy', 'run')).json.error.code).toBe('policy-missing')
  })
})
