import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { workflowIds } from '../../contracts/names.ts'
import type { RemoveResult } from '../../contracts/removal.ts'
import { startMongod, type Mongod } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { freshName } from '../support/fresh.ts'

/** MongoDB, and then every host with keys, is unavailable at the moment at which a removal needs it. */
describe.skipIf(inject('softhsm') === null)('a removal that cannot reach', () => {
  let folder: string
  let path: string
  let mongod: Mongod
  let fleet: Fleet

  beforeAll(async () => {
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'away-'))
    path = (await findServer('mongod', { print: console.error })).path
    mongod = await startMongod({ path, folder })
    const removal = { backup_window: '0s', undo_window: '12s' }
    fleet = await openFleet({
      provider: 'pkcs11',
      nodes: ['vm-a'],
      versions: [1, 2, 3],
      mongoUri: mongod.uri,
      config: { removal },
    })
    await fleet.fill(10)
    await fleet.must('rotate', '--to-version', '2')
    await fleet.must('rotate', '--to-version', '3')
  })
  afterAll(async () => {
    await fleet.close()
    await mongod.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const destroyed = async (version: number) =>
    (await readVersion(fleet.store, version))?.destroyed_at != null

  test('MongoDB continues by itself when MongoDB is back', async () => {
    const { dueAt } = await fleet.must('remove', '--version', '1')
    await mongod.process.kill()
    await fleet.until('its window does not end', () =>
      Promise.resolve(Date.now() > Date.parse(dueAt)),
    )
    const { port } = mongod
    mongod = await startMongod({ path, folder, port })
    expect(await destroyed(1)).toBe(false)
    await fleet.until('it stays pending', () => destroyed(1), 120_000)
    const end = await fleet.cli('remove', '--version', '1')
    expect({ code: end.code, state: end.json['state'] }).toEqual({ code: 0, state: 'destroyed' })
    expect(await currentRemoval(fleet.store, 1)).toBeNull()
  }, 240_000)

  test('a host with keys destroys the key in the end, even after its workflow was terminated and reset', async () => {
    await fleet.must('remove', '--version', '2', '--destroy-hsm-key')
    await fleet.nodes.stop('vm-a')
    await fleet.nodes.start('vm-a', { roles: 'control,node' })
    await fleet.until('it is not destroyed', () => destroyed(2), 120_000)
    const handle = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 2))
    await handle.terminate()
    const { code, json } = await fleet.cli('remove', '--version', '2')
    expect({ code, hsmKey: json['hsmKey'] }).toEqual({ code: 5, hsmKey: 'kept' })
    expect((await currentRemoval(fleet.store, 2))?.state).toBe('destroyed')

    const { runId } = await handle.describe()
    await fleet.temporal.workflowService.resetWorkflowExecution({
      namespace: fleet.temporal.options.namespace,
      workflowExecution: { workflowId: handle.workflowId, runId },
      reason: 'a test',
      workflowTaskFinishEventId: 4 as never,
      requestId: freshName('reset'),
    })
    await fleet.nodes.stop('vm-a')
    await fleet.nodes.start('vm-a')
    const again = fleet.temporal.workflow.getHandle(handle.workflowId)
    expect((await again.result()) as RemoveResult).toMatchObject({
      state: 'destroyed',
      hsmKey: 'destroyed',
      error: null,
    })
    expect(await fleet.must('remove', '--version', '2')).toMatchObject({ hsmKey: 'destroyed' })
    const of = (await chainedAudit(fleet.store)).filter(({ subject }) => subject === 'v2')
    expect(of.filter(({ action }) => action === 'hsm-key-destroyed')).toHaveLength(1)
    expect(of.filter(({ action }) => action === 'version-destroyed')).toHaveLength(1)
    expect(await fleet.verifyRecords()).toEqual({ 3: 10 })
  }, 240_000)
})
