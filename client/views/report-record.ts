import type {
  ProbedKey,
  RecordedFleetView,
  ReportView,
  UsedApproval,
} from '../../contracts/report.ts'
import { approvalDigest, approvalText } from '../../store/approval-text.ts'
import type { InstallDoc } from '../../store/documents.ts'
import type { RecordDoc, RecordedFleet } from '../../store/record-schema.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { keystore } from '../../store/keystore.ts'
import type { Store } from '../../store/store.ts'

/** The parts of a report that a rotation's record has. */
export function recordView({
  before,
  after,
  fleet_at_promote,
  fleet_at_settle,
  samples = [],
}: RecordDoc): Pick<ReportView, 'before' | 'after' | 'samples' | 'fleet' | 'software'> {
  const fleet = { atPromote: fleetView(fleet_at_promote), atSettle: fleetView(fleet_at_settle) }
  return {
    before: before ?? null,
    after: after ?? null,
    samples: samples.map(({ at, envelopes, hsm_calls }) => {
      return { at: at.toISOString(), envelopes, hsmCalls: hsm_calls }
    }),
    fleet,
    software: softwareOf([fleet.atPromote, fleet.atSettle]),
  }
}

function fleetView(fleet: RecordedFleet | undefined): RecordedFleetView | null {
  return fleet === undefined ? null : { ...fleet, at: fleet.at.toISOString() }
}

/** A process that was there at both times counts once. */
function softwareOf(fleets: readonly (RecordedFleetView | null)[]): ReportView['software'] {
  const processes = new Map<string, string | null>()
  for (const { node, pid, role, software } of fleets.flatMap((fleet) => fleet?.processes ?? [])) {
    processes.set(JSON.stringify([node, pid, role, software]), software)
  }
  const counts = new Map<string | null, number>()
  for (const software of processes.values()) {
    counts.set(software, (counts.get(software) ?? 0) + 1)
  }
  return [...counts]
    .map(([software, count]) => ({ software, processes: count }))
    .sort((one, other) => other.processes - one.processes)
}

/** The key of a version, with its token as `kek_install` has it; null when there is no such version. */
export async function probedKey(
  store: Store,
  install: InstallDoc | null,
  version: number,
): Promise<ProbedKey | null> {
  const row = await readVersion(store, version)
  if (row === null) return null
  const { provider, label, origin, gcm } = row
  const token = install?.stores.find(({ name }) => name === row.store)?.token ?? null
  return {
    version,
    provider,
    store: row.store,
    label,
    origin,
    madeBy: row.made_by,
    createdAt: row.created_at.toISOString(),
    gcm: gcm && { ivMode: gcm.iv_mode, ivLength: gcm.iv_length, tagBits: gcm.tag_bits },
    token,
  }
}

/** The requests for approvals that were used for a rotation. */
export async function usedApprovals(
  store: Store,
  install: InstallDoc | null,
  rotation: string,
): Promise<UsedApproval[]> {
  const rows = await keystore
    .requests(store)
    .find({ used_for: rotation })
    .sort({ used_at: 1 })
    .toArray()
  return rows.map((row) => ({
    request: row._id,
    requestedBy: row.requested_by,
    requestedAt: row.requested_at.toISOString(),
    usedAt: row.used_at?.toISOString() ?? null,
    digest: approvalDigest(approvalText(install?.id ?? '', row)),
    approvedBy: row.approvals.map(({ name, at }) => ({ name, at: at.toISOString() })),
  }))
}
