import type { NotReadyReason, ProofQuestion } from '../contracts/fleet.ts'
import { heartbeatFact, rosterFact } from '../protocol/facts.ts'
import type { HeartbeatFact, RosterFact } from '../protocol/facts.ts'
import { nothingObserved, observe, settleVerdict } from '../protocol/settle.ts'
import { requireUsable, routeVersions } from '../protocol/rotation-route.ts'
import type { SettleRound } from '../contracts/rotation.ts'
import { readActive } from '../store/kek-active.ts'
import { readSettings } from '../store/kek-settings.ts'
import { readVersions } from '../store/kek-versions.ts'
import { readRoster } from '../store/fleet-nodes.ts'
import { readHeartbeats, tidyHeartbeats } from '../store/process-heartbeats.ts'
import { readQuestions } from '../store/proof-question.ts'
import { recordFleetLeft, setAwaiting } from '../store/rotation-progress.ts'
import { serverNow } from '../store/store.ts'
import { pause } from './pause.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { requirePromoted } from './own-rotation.ts'

/** The fleet at one moment, in JSON types; times by the database's clock. */
export interface FleetSnapshot {
  now: string
  roster: RosterFact[]
  heartbeats: HeartbeatFact[]
  /** The open questions for proofs; the last one is the current one. */
  questions: ProofQuestion[]
  /** Hash of `kek_settings` in hex; null before `setup`. */
  settings: string | null
  heartbeatMs: number
  leaseMs: number
}

/** A worker's answer on its host's queue. Another node opens its nonce; only wrap and digest are sent. */
export interface Proof {
  node: string
  boot: string
  pid: number
  reason: NotReadyReason | null
  provenAt: string
  nonce: Nonce | null
}

/** `iv` and `wrapped` in base64, `digest` is SHA-256 in hex. */
export interface Nonce {
  iv: string
  wrapped: string
  digest: string
}

/** How often a settle round reads the fleet, in ms. */
const pollEveryMs = 500
/** How often a settle round reports what it waits for, in ms. */
const reportEveryMs = 2_000
/** At most so many awaited processes are named. */
const namedAtOnce = 10

export function fleetActivities(deps: ControlDeps) {
  const { store } = deps
  return {
    async requireVersion({ version }: { version: number }): Promise<void> {
      const [rows, active] = await Promise.all([readVersions(store), readActive(store)])
      requireUsable(routeVersions(rows, active?.version ?? null, {}), version)
    },

    /**
     * One round of settle, after promote: watches the fleet for at least one lease by this process's monotonic clock, since
     * silence is measured by the observer. A retry starts again, which can only make it longer.
     */
    watchFleet: async ({ rotation }: { rotation: string }): Promise<SettleRound> =>
      await heartbeating(async (signal, tell) => {
        const { heartbeatMs, leaseMs } = await timingsOf(deps)
        const row = await requirePromoted(store, rotation)
        const epoch = row.epoch ?? (await readActive(store))?.epoch ?? 0
        const startedMs = performance.now()
        const question = { epoch, promotedMs: startedMs, leaseMs }
        const giveUpMs = startedMs + leaseMs + 2 * heartbeatMs
        let tellAtMs = startedMs
        for (let state = nothingObserved; ;) {
          const { heartbeats } = await readFleet(deps)
          const nowMs = performance.now()
          state = observe(state, heartbeats, nowMs)
          const { done, awaiting, silent } = settleVerdict(state, question)
          const isOver = done || nowMs >= giveUpMs
          if (isOver || nowMs >= tellAtMs) {
            const shown = shortened(awaiting)
            tell({ awaiting: shown })
            await setAwaiting(store, rotation, shown)
            tellAtMs = nowMs + reportEveryMs
          }
          if (isOver) {
            if (done) await recordFleetLeft(store, row, { epoch, silent })
            return { settled: done, awaiting: shortened(awaiting), silent }
          }
          await pause(pollEveryMs, signal)
        }
      }),
  }
}

/** The first lines, and how many more there are. */
export function shortened(lines: readonly string[]): string[] {
  if (lines.length <= namedAtOnce) return [...lines]
  return [...lines.slice(0, namedAtOnce), `${lines.length - namedAtOnce} more processes`]
}

export async function readFleet(deps: ControlDeps): Promise<FleetSnapshot> {
  const { store } = deps
  const [roster, heartbeats, questions, settings, { expireMs, ...timings }] = await Promise.all([
    readRoster(store),
    readHeartbeats(store),
    readQuestions(store),
    readSettings(store),
    timingsOf(deps),
  ])
  if (heartbeats.some(({ malformed }) => malformed !== undefined)) {
    await tidyHeartbeats(store, expireMs)
  }
  // Read after the documents: a later time in them was not set by MongoDB.
  const now = await serverNow(store)
  return {
    now: now.toISOString(),
    roster: roster.map((row) => rosterFact(row, now)),
    heartbeats: heartbeats.map((row) => heartbeatFact(row, now)),
    questions,
    settings: settings === null ? null : settings.sha256.toString('hex'),
    ...timings,
  }
}

/** The recorded timings apply; this host's file only before `setup`. */
export async function timingsOf({ store, config }: ControlDeps) {
  const { heartbeatMs, leaseMs, expireMs } =
    (await readSettings(store))?.settings.fleet ?? config.fleet
  return { heartbeatMs, leaseMs, expireMs }
}
