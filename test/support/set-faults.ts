import type { Member, ReplicaSet } from '../../devstack/replica-set.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import type { Fleet } from './fleet.ts'
import { localDocument, type Gate } from './set-gates.ts'

/** A fault of the replica set that Keyturn must outlast. */
export interface SetFault {
  readonly title: string
  /** Breaks the set while the gate holds Keyturn; returns how long no member was primary, in ms. */
  strike(gate: Gate): Promise<number>
  /** Makes the set whole again. */
  mend(): Promise<void>
}

const withinMs = 60_000

export function stepDown(set: ReplicaSet): SetFault {
  return {
    title: 'the primary steps down',
    strike: async () => await elected(set, async () => await set.stepDown()),
    mend: () => set.healthy(),
  }
}

export function killed(set: ReplicaSet): SetFault {
  let member: Member | null = null
  return {
    title: 'the primary is killed',
    async strike() {
      const primary = await set.primary()
      member = primary
      return await elected(set, async () => {
        await primary.kill()
      })
    },
    async mend() {
      await member?.restart()
      member = null
      await set.healthy()
    },
  }
}

/**
 * The primary is cut off with writes that no other member has: one that it has acknowledged to the test (`w: 1`), and one of
 * Keyturn, which waits for a majority. The others elect a new primary, and the old one rolls both back when it returns.
 */
export function rolledBack(set: ReplicaSet, fleet: Fleet): SetFault {
  const collection = 'lost_writes'
  let writes = 0
  let cutOff: { member: Member; rollbacks: number; files: number } | null = null
  const isThere = async (member: Member) =>
    (await localDocument(set, fleet, member, { collection, filter: { _id: writes } })) !== null
  return {
    title: 'the primary is isolated, and rolls back',
    async strike(gate) {
      const member = await set.stopReplication()
      const files = (await member.rollbackFiles()).length
      cutOff = { member, rollbacks: await rollbacksOf(set, member), files }
      writes += 1
      const write = { insert: collection, documents: [{ _id: writes }], writeConcern: { w: 1 } }
      await set.command(member, write, fleet.install)
      await gate.release()
      const [other] = set.members.filter((each) => each !== member) as [Member]
      const isWritten = async () => (await gate.readOn(member)) !== (await gate.readOn(other))
      await waitUntil('Keyturn writes nothing to a primary without a majority', isWritten, {
        withinMs,
      })
      if (!(await isThere(member))) throw new Error('the acknowledged write is not there')
      return await elected(set, async () => {
        await set.isolate(member)
      })
    },
    async mend() {
      if (cutOff === null) return
      const { member, rollbacks, files } = cutOff
      cutOff = null
      set.heal()
      // While it rolls back it answers no read.
      const isGone = async () => !(await isThere(member).catch(() => true))
      await waitUntil('the old primary does not roll back', isGone, { withinMs })
      await set.healthy()
      if ((await rollbacksOf(set, member)) === rollbacks) throw new Error('it counts no rollback')
      if ((await member.rollbackFiles()).length === files) throw new Error('it saved no document')
    },
  }
}

/** A number that a member raises with each rollback. */
async function rollbacksOf(set: ReplicaSet, member: Member): Promise<number> {
  const { rbid } = await set.command(member, { replSetGetRBID: 1 })
  return Number(rbid)
}

/** How long it takes until another member is primary, in ms. */
async function elected(set: ReplicaSet, breakIt: () => Promise<void>): Promise<number> {
  const old = await set.primary()
  const began = performance.now()
  await breakIt()
  await waitUntil('no other member is elected', async () => (await set.primary()) !== old, {
    withinMs,
  })
  return performance.now() - began
}
