import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Document } from 'mongodb'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { setPolicy } from '../../client/policy/set.ts'
import { loadConfig } from '../../config/load-config.ts'
import { collections, workflowIds } from '../../contracts/names.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer, type TemporalServer } from '../../devstack/temporal-server.ts'
import { lastRotation } from '../../store/rotations.ts'
import { approverKey, type TestKey } from '../support/approvers.ts'
import { envelopeAt, places } from '../support/fleet-records.ts'
import { exportedAudit } from '../support/exported-audit.ts'
import { openFleet, type CliEnd, type Fleet } from '../support/fleet.ts'
import { secretKeysIn } from '../support/softhsm.ts'

/**
 * The life of a key: made, replaced by a policy, asked for removal, still used, approved, and destroyed while servers and
 * workers are killed. Each step is refused first, by guard and code, and the report and the audit tell all of it at the end.
 */

const dayMs = 86_400_000
const records = 60
const approvers = ['alice', 'bob', 'carol'].map(approverKey)
const [alice, bob] = approvers as [TestKey, TestKey]
const config = {
  removal: { backup_window: '0s', undo_window: '1h' },
  approvals: {
    approvers: approvers.map(({ name, ssh }) => ({ name, key: ssh })),
    remove: 2,
    settings: 2,
    expires: '1h',
  },
}
const [{ collection, field }] = places

for (const provider of ['env', 'pkcs11'] as const) {
  describe.skipIf(provider === 'pkcs11' && inject('softhsm') === null)(
    `the life of a key, with ${provider}`,
    () => {
      let folder: string
      let path: string
      let temporal: TemporalServer
      let fleet: Fleet
      let old: Document
      const removal = ['remove', '--version', '1']
      if (provider === 'pkcs11') removal.push('--destroy-hsm-key')

      beforeAll(async () => {
        folder = await mkdtemp(join(process.cwd(), '.keyturn', 'life-'))
        path = (await findServer('temporal', { print: console.error })).path
        temporal = await startTemporalServer({ path, folder, ui: false })
        const temporalAddress = temporal.address
        fleet = await openFleet({ provider, versions: [1], temporalAddress, config })
        await fleet.fill(records)
      })
      afterAll(async () => {
        await fleet.close()
        await temporal.stop()
        await rm(folder, { recursive: true, force: true })
      })

      test('a policy replaces v1 by v2, and v2 by v3', async () => {
        old = (await fleet.store.db.collection(collection).findOne()) ?? {}
        expect(await refusedBy('--version', '1')).toContain('not-active')
        await setPolicy(loadConfig({ file: fleet.config }), {
          everyMs: 90 * dayMs,
          atMs: 0,
          timeZone: 'UTC',
          jitterMs: 0,
          window: null,
          maxWraps: null,
          maxRate: null,
          maxHsmCalls: 0,
          priority: 'rotation',
          removeAfterMs: null,
          provision: true,
          lookMs: 2_000,
        })
        for (const version of [2, 3]) await replacedBy(version)
        expect(await fleet.verifyRecords()).toEqual({ 3: records })
      })

      test('its removal is approved by two of three, and stopped by an application that still uses it', async () => {
        await approved(alice, bob)
        expect(await fleet.must(...removal)).toMatchObject({ state: 'pending-removal', uses: [] })
        expect(
          (await fleet.cli('remove', '--version', '1', '--without-fence')).json.error.code,
        ).toBe('removal-pending')
        await fleet.withKeyring(async (keyring) => {
          const place = { collection, field, id: old['_id'] as never }
          await keyring.open(envelopeAt(old, field), place).catch(() => undefined)
        })
        await fleet.until('the use is not recorded', async () => {
          return ((await fleet.must('status'))['uses'] as unknown[]).length > 0
        })
        await windowIsOver()
        const ended = await fleet.cli('remove', '--version', '1', '--dry-run')
        expect(ended.json['state']).not.toBe('pending-removal')
        expect(
          await fleet.must('remove', '--version', '1', '--dry-run').catch(() => null),
        ).toBeNull()
      })

      test('it is destroyed after another request, although Temporal and all workers are killed in the window', async () => {
        // The approvals of the first request were used.
        const id = await approved(alice)
        expect((await fleet.cli(...removal)).json.error.code).toBe('approval-missing')
        expect((await approve(id, bob)).code).toBe(0)
        await fleet.must(...removal)
        await Promise.all([
          ...['vm-a', 'vm-b'].map((node) => fleet.nodes.kill(node)),
          temporal.process.kill(),
        ])
        temporal = await startTemporalServer({ path, folder, ports: temporal.ports, ui: false })
        await Promise.all(['vm-a', 'vm-b'].map((node) => fleet.nodes.start(node)))
        expect(await keysInToken()).toEqual(provider === 'env' ? null : 3)
        await windowIsOver()
        const done = await fleet.must(...removal)
        expect(done).toMatchObject({ version: 1, state: 'destroyed' })
        expect(await keysInToken()).toEqual(provider === 'env' ? null : 2)
        expect(await fleet.verifyRecords()).toEqual({ 3: records })
        expect((await fleet.cli(...removal)).json).toMatchObject({ state: 'destroyed' })
      })

      test('its audit tells each step, and the report of its last rotation its numbers', async () => {
        const lines = await exportedAudit(fleet)
        const actions = lines.map((line) => (JSON.parse(line) as { action: string }).action)
        const told = [
          'install',
          'version-installed',
          'policy-set',
          'policy-run',
          'rotation-promoted',
          'request-opened',
          'request-approved',
          'request-used',
          'removal-requested',
          'removal-undone',
          'version-destroyed',
        ]
        expect(actions.filter((action) => told.includes(action)).length).toBeGreaterThan(
          told.length,
        )
        for (const action of told) expect(actions).toContain(action)
        const destroyed = provider === 'env' ? 'version-destroyed' : 'hsm-key-destroyed'
        expect(actions.at(-1)).toBe(destroyed)
        expect(lines.find((line) => line.includes('"removal-undone"'))).toContain('guard not-used')
        expect((await fleet.cli('audit', 'verify')).code).toBe(0)
        const rotation = (await lastRotation(fleet.store))?._id ?? ''
        expect(await fleet.must('report', rotation)).toMatchObject({
          from: 2,
          to: 3,
          outcome: 'completed',
          truth: { rewrapped: records, remaining: 0 },
        })
      })

      async function replacedBy(version: number): Promise<void> {
        const policies = fleet.store.db.collection<{ _id: string }>(collections.policy)
        await policies.updateOne({ _id: 'policy' }, [{ $set: { next_at: '$$NOW' } }])
        await fleet.until(
          `no run for v${version} ends`,
          async () => {
            const { lastRuns } = (await fleet.must('policy', 'show'))['policy'] as PolicyView
            return lastRuns.length === version - 1
          },
          240_000,
        )
        const { lastRun } = (await fleet.must('policy', 'show'))['policy'] as PolicyView
        expect(lastRun).toMatchObject({ cause: 'date', outcome: 'completed', error: null })
        expect(await fleet.active()).toBe(version)
      }

      async function refusedBy(...args: string[]): Promise<string[]> {
        const { code, json } = await fleet.cli('remove', ...args)
        expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'removal-refused' })
        return json.guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
      }

      /** Opens a request for the removal and approves it; returns its id. */
      async function approved(...keys: TestKey[]): Promise<string> {
        const { code, json } = await fleet.cli(...removal)
        expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'approval-missing' })
        const { id } = json['request'] as { id: string }
        for (const key of keys) expect((await approve(id, key)).code).toBe(0)
        return id
      }

      async function approve(id: string, { name, pkcs8 }: TestKey): Promise<CliEnd> {
        const file = join(folder, `${name}.pem`)
        await writeFile(file, pkcs8, { mode: 0o600 })
        return await fleet.cli('--yes', 'approve', id, '--key', file)
      }

      /** Ends the undo window of v1, and resolves when its removal is over. */
      async function windowIsOver(): Promise<void> {
        const versions = fleet.store.db.collection<{ _id: number }>(collections.versions)
        await versions.updateOne({ _id: 1 }, [{ $set: { 'removal.due_at': '$$NOW' } }])
        const handle = fleet.temporal.workflow.getHandle(workflowIds.remove(fleet.identity, 1))
        // Its timer was set for the whole window: the command starts a new workflow for the same request.
        await handle.terminate('the window is over')
        await fleet.cli(...removal)
        await fleet.until('the removal is not over', async () => {
          const rows = fleet.store.db.collection(collections.removals)
          return (await rows.countDocuments({ version: 1, standing: true })) === 0
        })
      }

      const keysInToken = async () => (fleet.token === null ? null : secretKeysIn(fleet.token))
    },
  )
}
