import { beforeAll, describe, expect, test } from 'vitest'
import { collections } from '../../../contracts/names.ts'
import { runningRotation } from '../../../store/rotations.ts'
import { route } from '../../support/each-provider.ts'
import type { Fleet } from '../../support/fleet.ts'
import { holdPromote } from '../../support/holds.ts'
import type { Processes } from '../../support/processes.ts'
import { startApplication } from '../../support/writing-application.ts'
import type { WritingApplication } from '../../support/writing-application.ts'

const node = 'shop-1'

/** An application that is frozen after verify, for longer than its heartbeat document exists, and writes when it wakes. */
export function attackByFreezing(fleetOf: () => Fleet, children: Processes): void {
  describe('an application that is frozen between verify and promote', () => {
    let fleet: Fleet
    let app: WritingApplication
    beforeAll(async () => {
      fleet = fleetOf()
      app = await startApplication(fleet, children, { node })
    })

    /** Starts a rotation, and freezes the application between verify and promote, so that it does not know the new version. */
    async function rotateBehindIt(to: number, ...args: readonly string[]) {
      const hold = await holdPromote(fleet)
      const rotation = fleet.start('rotate', '--to-version', `${to}`, ...args)
      await hold.reached()
      app.process.process.signal('SIGSTOP')
      await hold.release()
      return rotation
    }
    const wake = () => {
      const woken = Date.now()
      app.process.process.signal('SIGCONT')
      return woken
    }
    const since = (moment: number) => app.written().filter(({ begun }) => begun >= moment)

    test('wraps nothing under the old version when it wakes during the rotation', async () => {
      const { to } = await route(fleet)
      const rotation = await rotateBehindIt(to, '--max-rate', '1')
      await leaseIsOver(fleet)
      expect(await fleet.active()).toBe(to)
      expect((await runningRotation(fleet.store))?.phase).toBe('rewrap')
      const woken = wake()
      await app.writes(woken)
      await fleet.must('rate', '0')
      const { code, json, stderr } = await rotation.end()
      expect({ code, stderr }).toMatchObject({ code: 0 })
      expect(json).toMatchObject({ outcome: 'completed', remaining: 0, quarantined: 0, silent: [] })
      expect(since(woken).filter(({ version }) => version !== to)).toEqual([])
    })

    test('wraps nothing under the old version when it wakes after the rotation, whose result names it as silent', async () => {
      const { from, to } = await route(fleet)
      await app.writes(Date.now(), from)
      const rotation = await rotateBehindIt(to)
      const { code, json, stderr } = await rotation.end()
      expect({ code, stderr }).toMatchObject({ code: 0 })
      expect(json).toMatchObject({ outcome: 'completed', remaining: 0, silent: [node] })
      const woken = wake()
      await app.writes(woken, to)
      expect(since(woken).filter(({ version }) => version !== to)).toEqual([])
      // An envelope that it sealed before may be written this late. It opens, and the census of a removal counts it.
      expect((await fleet.census())[from] ?? 0).toBeLessThanOrEqual(1)
    })

    test('wraps nothing at all when its host was decommissioned in the meantime', async () => {
      app.process.process.signal('SIGSTOP')
      await fleet.until('it counts as live for ever', async () => {
        return (await fleet.cli('nodes', 'decommission', node)).code === 0
      })
      const woken = wake()
      await app.isRefused('lease-expired', woken)
      expect(since(woken)).toEqual([])
      expect((await fleet.cli('verify', '--target', '2')).code).toBe(0)
      await app.stop()
      const counted = await fleet.verifyRecords()
      expect(Object.values(counted).reduce((sum, one) => sum + one, 0)).toBe(
        fleet.records.book.size,
      )
    })
  })
}

/** Resolves when the lease of the application's last heartbeat has expired, by the database's clock. */
async function leaseIsOver(fleet: Fleet): Promise<void> {
  const young = { node, $expr: { $gt: ['$lease_until', '$$NOW'] } }
  const heartbeats = fleet.store.db.collection(collections.heartbeats)
  await fleet.until('its lease never ends', async () => {
    return (await heartbeats.countDocuments(young)) === 0
  })
}
