import type { ReadinessReport } from '../contracts/fleet.ts'
import type { VerifyInput } from '../contracts/install.ts'
import { deciding } from './profiles.ts'
import { proveFleet } from './prove-fleet.ts'
import { refuse, reportOf } from './refusal.ts'

/** Proves that each process of the fleet can use version N; it need not be current anywhere. */
export async function verifyFleet(input: VerifyInput): Promise<ReadinessReport> {
  try {
    await deciding.requireVersion({ task: input.task, version: input.target })
    return await proveFleet(input)
  } catch (failure) {
    refuse(reportOf(failure))
  }
}
