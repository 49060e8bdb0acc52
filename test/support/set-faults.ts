import type { Member, ReplicaSet } from '../../devstack/replica-set.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import type { Gate } from './set-gates.ts'

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
