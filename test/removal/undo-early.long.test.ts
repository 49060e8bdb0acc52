import { expect, test } from 'vitest'
import { messages, queues, workflowIds, workflowTypes } from '../../contracts/names.ts'
import type { RemoveInput, RemoveResult } from '../../contracts/removal.ts'
import { hasFence } from '../../store/fence.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { openRemoval } from '../../store/removal-requests.ts'
import { insertTask } from '../../store/kek-tasks.ts'
import { onEachProvider } from '../support/each-provider.ts'
import { places } from '../support/fleet-records.ts'
import { freshName } from '../support/fresh.ts'

/** Delays of the undo after the start, in ms: while the removal waits, checks the guards, or raises the fence. */
const moments = [0, 40, 80, 120, 160, 200, 250, 300, 400, 500]

onEachProvider('an early undo', { records: 60 }, (fleetOf) => {
  test('undoes the removal at each of its steps', async () => {
    const fleet = fleetOf()
    await fleet.must('rotate', '--to-version', '2')
    for (const [round, wait] of [-1, ...moments].entries()) {
      const request = freshName('undone')
      await openRemoval(fleet.store, {
        request,
        version: 1,
        requestedBy: 'test',
        afterMs: wait < 0 ? 600_000 : 0,
        destroyHsmKey: false,
        acceptQuarantine: false,
        withoutFence: false,
      })
      const task = await insertTask(fleet.store, { kind: 'remove', by: 'test' })
      const input: RemoveInput = { install: fleet.identity, task, version: 1, request }
      const handle = await fleet.temporal.workflow.start(workflowTypes.remove, {
        workflowId: workflowIds.remove(fleet.identity, 1),
        taskQueue: queues.control(fleet.identity),
        args: [input],
      })
      const startedMs = performance.now()
      await fleet.until('never', () => Promise.resolve(performance.now() >= startedMs + wait))
      await handle.executeUpdate(messages.undo)
      const result = (await handle.result()) as RemoveResult
      expect({ round, state: result.state }).toEqual({ round, state: 'deactivated' })
      const row = await readVersion(fleet.store, 1)
      expect(row).toMatchObject({ removal: null, destroyed_at: null })
      for (const { collection, field } of places) {
        const fence = { collection, fields: [field], version: 1 }
        expect(await hasFence(fleet.store, fence)).toBe(false)
      }
    }
    // A rotation back is possible.
    expect((await fleet.cli('rotate', '--to-version', '1')).code).toBe(0)
    expect(await fleet.verifyRecords()).toEqual({ 1: 60 })
  })
})
