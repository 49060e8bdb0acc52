import { Gauge } from 'prom-client'
import type { Registry } from 'prom-client'
import type { DatedOverview, Overview } from '../contracts/overview.ts'
import { rotationPhases } from '../contracts/rotation.ts'

type Labels = Record<string, string | number>
type Row = readonly [labels: Labels, value: number]

/** A metric of the keystore, and its values in an overview; none: the metric is absent. */
interface OverviewMetric {
  readonly name: string
  readonly help: string
  readonly labelNames?: readonly string[]
  readonly values: (overview: DatedOverview) => readonly Row[]
}

const seconds = (iso: string): number => Date.parse(iso) / 1_000
const ifThere = (iso: string | null): Row[] => (iso === null ? [] : [[{}, seconds(iso)]])

const metrics: readonly OverviewMetric[] = [
  {
    name: 'keyturn_overview_timestamp_seconds',
    help: 'When the metrics of the keystore were read, which one worker does for all, at most once a minute',
    values: ({ asOf }) => [[{}, seconds(asOf)]],
  },
  {
    name: 'keyturn_envelopes',
    help: 'Envelopes by KEK version and collection, quarantined ones too',
    labelNames: ['version', 'collection'],
    values: ({ census }) =>
      census.map(({ version, collection, envelopes }) => [{ version, collection }, envelopes]),
  },
  {
    name: 'keyturn_envelopes_odd',
    help: 'Envelopes that cannot be placed under a version, by collection',
    labelNames: ['collection'],
    values: ({ odd }) => odd.map(({ collection, envelopes }) => [{ collection }, envelopes]),
  },
  {
    name: 'keyturn_quarantined_envelopes',
    help: 'Envelopes in quarantine',
    values: ({ quarantined }) => [[{}, quarantined]],
  },
  {
    name: 'keyturn_requests_open',
    help: 'Requests for approval that are open',
    values: ({ requestsOpen }) => [[{}, requestsOpen]],
  },
  {
    name: 'keyturn_rotation_phase',
    help: '1 for the phase of the rotation that runs, 0 for the others',
    labelNames: ['phase'],
    values: ({ rotation }) =>
      rotationPhases.map((phase) => [{ phase }, Number(rotation?.phase === phase)]),
  },
  {
    name: 'keyturn_rotation_progress_ratio',
    help: 'Part of the envelopes that the running rotation has processed, 0 to 1; absent when none runs',
    values: ({ rotation }) => (rotation === null ? [] : [[{}, progressOf(rotation)]]),
  },
  {
    name: 'keyturn_rotation_last_completed_timestamp_seconds',
    help: 'End of the last rotation that completed',
    values: ({ lastCompletedAt }) => ifThere(lastCompletedAt),
  },
  {
    name: 'keyturn_kek_activated_timestamp_seconds',
    help: 'When a KEK version became active for the first time',
    labelNames: ['version'],
    values: ({ versions }) =>
      versions.flatMap(({ version, activatedAt }) =>
        ifThere(activatedAt).map(([, value]): Row => [{ version }, value]),
      ),
  },
  {
    name: 'keyturn_kek_wraps',
    help: 'DEKs wrapped under a KEK version by the whole fleet; at most 2^32 for random IVs',
    labelNames: ['version'],
    values: ({ versions }) =>
      versions.flatMap(({ version, wraps }): Row[] =>
        wraps === null ? [] : [[{ version }, wraps]],
      ),
  },
  {
    name: 'keyturn_removal_due_timestamp_seconds',
    help: 'When a KEK version that is pending removal may be destroyed',
    labelNames: ['version'],
    values: ({ versions }) =>
      versions.flatMap(({ version, removalDueAt }) =>
        ifThere(removalDueAt).map(([, value]): Row => [{ version }, value]),
      ),
  },
  {
    name: 'keyturn_guard_failing',
    help: '1 for each guard that fails now for a KEK version that is pending removal',
    labelNames: ['version', 'guard'],
    values: ({ versions }) =>
      versions.flatMap(({ version, failingGuards }) =>
        failingGuards.map((guard): Row => [{ version, guard }, 1]),
      ),
  },
  {
    name: 'keyturn_fleet_processes',
    help: 'Processes of the fleet by state: live, degraded, silent; missing: expected hosts without a process',
    labelNames: ['state'],
    values: ({ fleet }) => Object.entries(fleet).map(([state, count]) => [{ state }, count]),
  },
]

/** Registers the metrics of the keystore; the function replaces all their values; null removes them. */
export function overviewMetrics(registry: Registry): (overview: DatedOverview | null) => void {
  const gauges = metrics.map(({ name, help, labelNames = [], values }) => {
    const gauge = new Gauge({ name, help, labelNames, registers: [registry] })
    // A gauge without labels has the value 0 from the start.
    gauge.remove({})
    return { gauge, values }
  })
  return (overview) => {
    for (const { gauge, values } of gauges) {
      gauge.reset()
      gauge.remove({})
      for (const [labels, value] of overview === null ? [] : values(overview)) {
        gauge.set(labels, value)
      }
    }
  }
}

function progressOf(rotation: NonNullable<Overview['rotation']>): number {
  const { total, rewrapped, superseded, quarantined } = rotation
  if (total === null) return 0
  return total === 0 ? 1 : Math.min(1, (rewrapped + superseded + quarantined) / total)
}
