import type { RemoveInput } from '../contracts/removal.ts'
import type { Guard } from '../contracts/views.ts'
import { removalGuards } from '../protocol/removal-guards.ts'
import type { FenceFact } from '../protocol/removal-guards.ts'
import { remainingOf } from '../store/census.ts'
import { fenceOn, hasFence } from '../store/fence.ts'
import { readActive } from '../store/kek-active.ts'
import { closeShards } from '../store/rewrap-shards.ts'
import { countQuarantine, recheckQuarantine } from '../store/rewrap-quarantine.ts'
import type { ControlDeps } from './deps.ts'
import { readFleet } from './fleet.ts'
import { requireInstalled, requireSettings } from './settings.ts'

/** `fenced`: the fence should stand already. */
export interface GuardInput extends RemoveInput {
  fenced: boolean
}

/** Gathers the facts for all guards. Closes the shards of all rotations first: a page in flight could bring N back. */
export async function evaluateGuards(deps: ControlDeps, input: GuardInput): Promise<Guard[]> {
  const { store } = deps
  const { version } = input
  const { collections, removal } = await requireSettings(store)
  await closeShards(store, 'all')
  await recheckQuarantine(store, version)
  const row = await requireInstalled(store, version)
  const active = await readActive(store)
  const fleet = await readFleet(deps)
  return removalGuards({
    version,
    active: active?.version ?? null,
    rotation: row.rotation,
    roster: fleet.roster,
    heartbeats: fleet.heartbeats,
    activatedAt: row.activated_at?.toISOString() ?? null,
    leftAt: row.left_at?.toISOString() ?? null,
    leftEpoch: row.left_epoch,
    remaining: await remainingOf(store, collections, version),
    quarantined: await countQuarantine(store, version),
    acceptQuarantine: input.acceptQuarantine,
    backupWindowMs: removal.backupWindowMs,
    now: fleet.now,
    approvalsRequired: removal.approvalsRequired,
    approvedBy: [],
    requestedBy: input.requestedBy,
    fence: await fenceOf(deps, input),
  })
}

async function fenceOf({ store }: ControlDeps, input: GuardInput): Promise<FenceFact> {
  if (input.withoutFence) return 'without'
  if (!input.fenced) return 'possible'
  const { collections } = await requireSettings(store)
  for (const collection of collections) {
    const fence = fenceOn(collection, input.version)
    if (!(await hasFence(store, fence))) return 'missing'
  }
  return 'stands'
}
