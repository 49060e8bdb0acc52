import type { RemovalFacts } from '../../protocol/guard-facts.ts'
import { at, heartbeat, host } from './fleet-facts.ts'

const day = 86_400
/** Facts of a removal that all guards let pass. */
export const removalFactsOf = (fields: Partial<RemovalFacts> = {}): RemovalFacts => ({
  version: 1,
  active: 2,
  epoch: 3,
  rotation: null,
  activatedAt: at(-90 * day),
  leftAt: at(-31 * day),
  leftEpoch: 2,
  remaining: 0,
  odd: 0,
  lost: [],
  unknown: [],
  quarantined: 0,
  oddQuarantined: 0,
  acceptQuarantine: false,
  requestedAt: null,
  uses: [],
  malformedUses: [],
  backups: [],
  life: { periods: [], destroyedAt: null, isHeld: false },
  backupWindowMs: 30 * day * 1000,
  now: at(0),
  ownNow: at(0),
  settings: null,
  approvalsRequired: 0,
  approvedBy: [],
  fence: 'possible',
  roster: [host('vm-a')],
  heartbeats: [heartbeat('vm-a/1', { current: 2, epoch: 2 })],
  ...fields,
})
