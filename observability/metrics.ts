import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import type { DatedOverview } from '../contracts/overview.ts'
import { lastBeat } from './heartbeat-age.ts'
import { lostLogLines } from './stderr-lines.ts'
import { overviewMetrics } from './overview-metrics.ts'
import { providerMetrics } from './provider-metrics.ts'
import type { ProviderStats } from './provider-metrics.ts'

/** What a sweep did since its last report, as in the rotation's counters. */
export interface SweepCounts {
  rewrapped: number
  superseded: number
  quarantined: number
}

export interface MemberState {
  active: { version: number; epoch: number } | null
  loaded: readonly number[]
  leaseOk: boolean
  degraded: boolean
}

export interface PolicyState {
  paused: boolean
  /** In seconds since 1970. */
  nextRun: number
}

/** The metrics of a process (docs/configuration.md lists them); one registry for each process. */
export interface Metrics {
  readonly registry: Registry
  /** Adds the results of one or more pages. */
  countSweep(counts: SweepCounts): void
  /** Adds wraps under a version, re-wraps included. They limit a key's life: 2^32 for random IVs. */
  countWraps(version: number, wraps: number): void
  /** A heartbeat was written just now: the age counts from here. */
  beat(): void
  /** Sets the state of the process; replaces the previous one. */
  setMember(state: MemberState): void
  /** Sets the state of the policy; null: none is set. */
  setPolicy(state: PolicyState | null): void
  /** Takes the provider's `stats()`. They are running totals, so passing them twice counts once. */
  setProvider(stats: ProviderStats): void
  /** Replaces the metrics of the keystore; null removes them. */
  setOverview(overview: DatedOverview | null): void
  /** Text for `/metrics`. */
  render(): Promise<string>
}

/** `processMetrics` adds Node's own (memory, event loop, garbage collection), `keystoreMetrics` those of an overview. */
export function createMetrics(options: {
  install: string
  node: string
  processMetrics?: boolean
  keystoreMetrics?: boolean
}): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ install: options.install, node: options.node })
  if (options.processMetrics === true) collectDefaultMetrics({ register: registry })
  const sweep = sweepCounters(registry)
  const member = memberGauges(registry)
  const wraps = new Counter({
    name: 'keyturn_wraps_total',
    help: 'DEKs wrapped by this process, re-wraps too, by KEK version',
    labelNames: ['version'],
    registers: [registry],
  })
  const beat = lastBeat(registry)
  countLostLogLines(registry)
  const provider = providerMetrics(registry)
  const policy = policyGauges(registry)
  const setOverview = options.keystoreMetrics === true ? overviewMetrics(registry) : () => undefined
  return {
    registry,
    countSweep: ({ rewrapped, superseded, quarantined }) => {
      sweep.rewrapped.inc(rewrapped)
      sweep.superseded.inc(superseded)
      sweep.quarantined.inc(quarantined)
    },
    countWraps: (version, count) => wraps.inc({ version }, count),
    beat,
    setMember: (state) => {
      member.version.set(state.active?.version ?? 0)
      member.epoch.set(state.active?.epoch ?? 0)
      member.lease.set(Number(state.leaseOk))
      member.degraded.set(Number(state.degraded))
      member.loaded.reset()
      for (const version of state.loaded) member.loaded.set({ version }, 1)
    },
    setPolicy: policy,
    setProvider: provider,
    setOverview,
    render: () => registry.metrics(),
  }
}

function countLostLogLines(registry: Registry): void {
  let counted = 0
  const counter: Counter = new Counter({
    name: 'keyturn_log_lines_lost_total',
    help: 'Log lines that could not be written, for instance on a full disk',
    registers: [registry],
    collect() {
      const total = lostLogLines()
      counter.inc(total - counted)
      counted = total
    },
  })
}

function sweepCounters(registry: Registry) {
  const counter = (name: string, help: string) => new Counter({ name, help, registers: [registry] })
  return {
    rewrapped: counter('keyturn_rewrapped_total', 'Envelopes re-wrapped by this process'),
    superseded: counter(
      'keyturn_superseded_total',
      'Envelopes that an application had changed or deleted before their page was written',
    ),
    quarantined: counter('keyturn_quarantined_total', 'Envelopes put into quarantine'),
  }
}

/** Absent while no policy is set; the next run is absent while it is paused. */
function policyGauges(registry: Registry): Metrics['setPolicy'] {
  // Without a label there would be a sample from the start.
  const gauge = (name: string, help: string) =>
    new Gauge({ name, help, labelNames: ['policy'], registers: [registry] })
  const paused = gauge('keyturn_policy_paused', '1 while the policy is paused, 0 while it is not')
  const next = gauge('keyturn_policy_next_run_timestamp_seconds', 'When its next run is planned')
  return (state) => {
    paused.reset()
    next.reset()
    if (state === null) return
    paused.set(Number(state.paused))
    if (!state.paused) next.set(state.nextRun)
  }
}

function memberGauges(registry: Registry) {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] })
  return {
    version: gauge('keyturn_active_version', 'KEK version this process wraps under, 0 for none'),
    epoch: gauge('keyturn_active_epoch', 'Epoch of the active version as this process saw it'),
    lease: gauge('keyturn_lease_ok', '1 while this process may wrap'),
    degraded: gauge('keyturn_degraded', '1 while this process cannot use the active version'),
    loaded: new Gauge({
      name: 'keyturn_loaded_version',
      help: '1 for each KEK version that is loaded and proven',
      labelNames: ['version'],
      registers: [registry],
    }),
  }
}
