import { KeyturnError } from '../../contracts/errors.ts'
import { rotationPhases } from '../../contracts/rotation.ts'
import type { Config } from '../../contracts/settings.ts'
import type { ReportView } from '../../contracts/views.ts'
import type { RotationDoc } from '../../store/documents.ts'
import { remainingOf } from '../../store/census.ts'
import { measuredRate } from '../../store/measured-rate.ts'
import { listQuarantine } from '../../store/rewrap-quarantine.ts'
import { readRotation } from '../../store/rotations.ts'
import { sumCounters } from '../../store/rewrap-ranges.ts'
import { serverNow } from '../../store/store.ts'
import { withKeystore } from '../keystore.ts'

/** One rotation from its record, with plan and result side by side. Needs no Temporal. Throws no-rotation. */
export async function readReport(config: Config, rotation: string): Promise<ReportView> {
  return withKeystore(config, async ({ store, settings }) => {
    const row = await readRotation(store, rotation)
    if (row === null) {
      throw new KeyturnError('no-rotation', `there is no rotation "${rotation}"`, {
        hint: 'keyturn status --json names the last one; keyturn audit list names all',
      })
    }
    const counters = await sumCounters(store, rotation)
    const end = row.ended_at ?? (await serverNow(store))
    const quarantine = await listQuarantine(store, row.from)
    return {
      rotation,
      from: row.from,
      to: row.to,
      phase: row.phase,
      outcome: row.outcome,
      requestedBy: row.requested_by,
      reason: row.reason,
      silent: row.silent,
      startedAt: row.started_at.toISOString(),
      promotedAt: iso(row.promoted_at),
      settledAt: iso(row.settled_at),
      endedAt: iso(row.ended_at),
      phases: phasesOf(row, end),
      plan: planOf(row),
      truth: {
        envelopes: row.total,
        ...counters,
        remaining: await remainingOf(store, settings.collections, row.from),
        durationSeconds: (end.getTime() - row.started_at.getTime()) / 1_000,
        ratePerSecond: measuredRate({ ...row, counters: countersOf(counters) }),
      },
      quarantine: quarantine.filter((each) => each.rotation === rotation).length,
      error: row.error,
    }
  })
}

function planOf({ plan }: RotationDoc): ReportView['plan'] {
  if (plan === undefined) return null
  const { envelopes, hsm_calls: hsmCalls, seconds: durationSeconds, check, max_rate } = plan
  return { envelopes, hsmCalls, durationSeconds, check, maxRate: max_rate }
}

function countersOf({ hsmCalls, ...counters }: Awaited<ReturnType<typeof sumCounters>>) {
  return { ...counters, hsm_calls: hsmCalls }
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
