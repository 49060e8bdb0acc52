import type { FleetNode } from '../contracts/fleet.ts'
import type { HsmBudget } from '../contracts/rotation-plan.ts'
import type { CheckMode } from '../contracts/settings.ts'

/** Crypt calls for one envelope: unwrap and wrap, and the check, which opens again (sampled: 1 in 16). */
const callsPerEnvelope: Record<CheckMode, number> = { all: 3, sampled: 2 + 1 / 16, none: 2 }

/** A proof opens the canary, wraps a probe and opens it again. */
const callsPerProof = 3

/** In verify, a worker also wraps a nonce and opens that of another node. */
const callsPerNonce = 2

const dayMs = 86_400_000

export function plannedCalls(check: CheckMode, envelopes: number): number {
  return Math.ceil(envelopes * callsPerEnvelope[check])
}

/** Crypt calls without failures. A process that wraps adds one proof per lease. */
export function hsmBudget(facts: {
  fleet: readonly Pick<FleetNode, 'processes'>[]
  /** Envelopes that a rotation from the active version re-wraps, and those that a scan opens. */
  envelopes: { rotation: number; all: number }
  check: CheckMode
  proveMs: number
}): HsmBudget {
  const processes = facts.fleet.flatMap((node) => node.processes)
  const loaded = processes.reduce((sum, { loaded: versions }) => sum + versions.length, 0)
  const workers = processes.filter(({ role }) => role === 'worker').length
  return {
    standingPerDay: Math.ceil((callsPerProof * loaded * dayMs) / facts.proveMs),
    verify: callsPerProof * processes.length + callsPerNonce * workers,
    rotation: plannedCalls(facts.check, facts.envelopes.rotation),
    scan: facts.envelopes.all,
  }
}
