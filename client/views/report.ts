import { KeyturnError } from '../../contracts/errors.ts'
import { rotationPhases, type Counters } from '../../contracts/rotation.ts'
import type { ReportView } from '../../contracts/report.ts'
import type { Config } from '../../contracts/settings.ts'
import type { RotationDoc } from '../../store/documents.ts'
import { chainAuditFirst } from '../../store/audit-chain.ts'
import { readHead } from '../../store/audit-head.ts'
import { remainingOf } from '../../store/census.ts'
import { listAudit } from '../../store/kek-audit.ts'
import { measuredRate } from '../../store/measured-rate.ts'
import { quarantineReasons, recordOf } from '../../store/rotation-record.ts'
import { readRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { serverNow, type Store } from '../../store/store.ts'
import { withKeystore, type Keystore } from '../keystore.ts'
import { probedKey, recordView, usedApprovals } from './report-record.ts'

/** A report has at most this many audit entries. */
const mostEvents = 1_000

/** One rotation from its record, with plan and result side by side. Needs no Temporal. Throws no-rotation. */
export async function readReport(config: Config, rotation: string): Promise<ReportView> {
  return withKeystore(config, async (keystore) => {
    const { store, install } = keystore
    const row = await readRotation(store, rotation)
    if (row === null) {
      throw new KeyturnError('no-rotation', `there is no rotation "${rotation}"`, {
        hint: 'keyturn status --json names the last one; keyturn audit list names all',
      })
    }
    const record = recordOf(row)
    const end = row.ended_at ?? (await serverNow(store))
    return {
      install: { name: config.install, id: install?.id ?? null },
      rotation,
      workflowId: row.workflow_id,
      runId: row.run_id,
      from: row.from,
      to: row.to,
      phase: row.phase,
      outcome: row.outcome,
      requestedBy: row.requested_by,
      reason: row.reason,
      startedAt: row.started_at.toISOString(),
      promotedAt: iso(row.promoted_at),
      settledAt: iso(row.settled_at),
      endedAt: iso(row.ended_at),
      phases: phasesOf(row, end),
      options: row.way,
      plan: planOf(row),
      truth: await truthOf(keystore, row, end),
      hsmQuota: {
        max: row.max_hsm_calls === 0 ? null : row.max_hsm_calls,
        reserved: row.hsm_reserved,
      },
      ...recordView(record),
      quarantine: record.quarantine ?? (await quarantineReasons(store, row.from)),
      silent: row.silent,
      probe: {
        from: await probedKey(store, install, row.from),
        to: await probedKey(store, install, row.to),
      },
      approvals: await usedApprovals(store, install, rotation),
      ...(await auditOf(keystore, rotation)),
      error: row.error,
    }
  })
}

async function truthOf(
  { store, settings }: Keystore,
  row: RotationDoc,
  end: Date,
): Promise<ReportView['truth']> {
  const counters = await countersOf(store, row)
  const { hsmCalls, ...counted } = counters
  return {
    envelopes: row.total,
    ...counters,
    remaining: await remainingOf(store, settings.collections, row.from),
    durationSeconds: (end.getTime() - row.started_at.getTime()) / 1_000,
    ratePerSecond: measuredRate({ ...row, counters: { ...counted, hsm_calls: hsmCalls } }),
  }
}

/** As recorded at its end; a rotation that was ended by the next one has none. */
async function countersOf(store: Store, { _id, counters }: RotationDoc): Promise<Counters> {
  if (counters === null) return await sumCounters(store, _id)
  const { rewrapped, superseded, quarantined, hsm_calls: hsmCalls } = counters
  return { rewrapped, superseded, quarantined, hsmCalls }
}

async function auditOf(
  { store, install, copied }: Keystore,
  subject: string,
): Promise<Pick<ReportView, 'events' | 'auditHead'>> {
  if (!copied) await chainAuditFirst(store)
  const entries = await listAudit(store, { subject, limit: mostEvents })
  const { entries: number, head } = await readHead(store, install?.id ?? '')
  return {
    events: entries.map(({ at, action, actor }) => ({ at: at.toISOString(), action, actor })),
    auditHead: { entries: number, head },
  }
}

function planOf({ plan }: RotationDoc): ReportView['plan'] {
  if (plan === undefined) return null
  const { envelopes, hsm_calls: hsmCalls, seconds: durationSeconds, check, max_rate } = plan
  return { envelopes, hsmCalls, durationSeconds, check, maxRate: max_rate }
}

/** Each phase that began; it ends when the next one begins. */
function phasesOf({ phases = {}, promoted_at }: RotationDoc, end: Date): ReportView['phases'] {
  const begun = { ...phases, ...(promoted_at === null ? {} : { promote: promoted_at }) }
  const there = rotationPhases.flatMap((phase) => {
    const at = begun[phase]
    return at === undefined ? [] : [{ phase, at }]
  })
  return there.map(({ phase, at }, index) => {
    const until = there[index + 1]?.at ?? end
    return { phase, at: at.toISOString(), seconds: (until.getTime() - at.getTime()) / 1_000 }
  })
}

function iso(at: Date | null): string | null {
  return at?.toISOString() ?? null
}
