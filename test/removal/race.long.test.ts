import { expect, test } from 'vitest'
import { queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemovalProgress, RemoveInput, RemoveResult } from '../../contracts/removal.ts'
import type { RotateInput, RotateResult } from '../../contracts/rotation.ts'
import { readActive } from '../../store/kek-active.ts'
import { readVersions } from '../../store/kek-versions.ts'
import { openRemoval, withdrawRemoval } from '../../store/removal-requests.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'

/** test/store repeats this 200 times on the rows alone. Here whole workflows run, so a few rounds with shifted starts. */
const rounds = 5

onEachProvider('a removal and a rotation back', { records: 40 }, (fleetOf) => {
  test('never leave an active version in removal when they run at the same time', async () => {
    const fleet = fleetOf()
    await fleet.must('rotate', '--to-version', '2')
    const winners: string[] = []
    for (let round = 0; round < rounds; round++) {
      const { from: active, to: old, total } = await route(fleet)
      const lead = (round - Math.floor(rounds / 2)) * 60
      const [removed, rotated] = await Promise.all([
        later(Math.max(0, -lead), () => remove(fleet, old)),
        later(Math.max(0, lead), () => rotate(fleet, active, old)),
      ])
      const now = (await readActive(fleet.store))?.version
      const rows = await readVersions(fleet.store)
      const state = JSON.stringify({ round, now, removed, rotated })
      const row = rows.find(({ _id }) => _id === now)
      expect(row?.removal, state).toBeNull()
      expect(row?.destroyed_at, state).toBeNull()
      if (removed.error === null) {
        expect(rotated.outcome, state).toBe('refused')
        expect(now).toBe(active)
        winners.push('removal')
        await fleet.must('remove', '--version', `${old}`, '--undo')
      } else {
        winners.push(rotated.outcome)
        if (rotated.outcome === 'completed') expect(now, state).toBe(old)
      }
      for (const { removal } of await readVersions(fleet.store)) {
        if (removal !== null)
          await withdrawRemoval(fleet.store, removal.request, 'withdrawn', { reason: 'tested' })
      }
      expect(await fleet.verifyRecords()).toEqual({ [now ?? 0]: total })
    }
    expect(winners).toHaveLength(rounds)
  })
})

async function later<T>(ms: number, run: () => Promise<T>): Promise<T> {
  await new Promise((resolve) => setTimeout(resolve, ms))
  return await run()
}

/** Runs up to the recorded request, which is then undone within its window. */
async function remove(fleet: Fleet, version: number): Promise<{ error: unknown }> {
  const request = freshName('raced')
  await openRemoval(fleet.store, {
    request,
    version,
    requestedBy: 'test',
    afterMs: 0,
    destroyHsmKey: false,
    acceptQuarantine: false,
    withoutFence: false,
  })
  const task = await insertTask(fleet.store, { kind: 'remove', by: 'test' })
  const input: RemoveInput = { install: fleet.identity, task, version, request }
  const handle = await fleet.temporal.workflow.start(workflowTypes.remove, {
    workflowId: workflowIds.remove(fleet.identity, version),
    taskQueue: queues.control(fleet.identity),
    args: [input],
  })
  const recorded = fleet.until('neither recorded nor refused', async () => {
    const { status } = await handle.describe()
    if (status.name !== 'RUNNING') return 'ended'
    const { phase } = await handle.query<RemovalProgress>('progress')
    return phase === 'fencing' || phase === 'pending' ? 'recorded' : null
  })
  if ((await recorded) === 'recorded') return { error: null }
  const { error } = (await handle.result()) as RemoveResult
  return { error }
}

async function rotate(fleet: Fleet, from: number, to: number): Promise<RotateResult> {
  const input: RotateInput = {
    task: await insertTask(fleet.store, { kind: 'rotate', by: 'test' }),
    install: fleet.identity,
    rotation: freshName('raced'),
    from,
    to,
    requestedBy: 'test',
    reason: 'race',
    maxRate: 0,
    maxHsmCalls: 0,
    page: 50,
    shards: 1,
    check: 'all',
  }
  const handle = await fleet.temporal.workflow.start(workflowTypes.rotate, {
    workflowId: workflowIds.rotate(fleet.identity),
    taskQueue: queues.control(fleet.identity),
    args: [input],
  })
  return (await handle.result()) as RotateResult
}
