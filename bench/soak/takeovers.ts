import { setTimeout as sleep } from 'node:timers/promises'
import type { RangeDoc } from '../../store/documents.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { runningRotation } from '../../store/rotations.ts'
import type { Store } from '../../store/store.ts'

/** Why a worker left its ranges. */
export type Cause = 'kill' | 'freeze'

export interface Takeover {
  cause: Cause
  /** From the kill to the first page of another process. */
  seconds: number
}

/** Watches the ranges of the running rotation: how long those of a lost worker stand still. */
export interface TakeoverWatch {
  readonly takeovers: readonly Takeover[]
  /** A worker was lost now. */
  lost(cause: Cause): void
  /** Another fault happened, after which any range may get a new attempt: takeovers that wait are no longer measured. */
  disturbed(): void
  stop(): Promise<void>
}

const everyMs = 100

export function watchTakeovers(store: Store): TakeoverWatch {
  const takeovers: Takeover[] = []
  const ending = new AbortController()
  let seen = new Map<string, RangeDoc>()
  let open: { cause: Cause; at: number; ranges: Map<string, RangeDoc> } | null = null

  const look = async () => {
    const id = (await runningRotation(store))?._id
    const ranges = id === undefined ? [] : await readRanges(store, id)
    seen = new Map(ranges.map((range) => [keyOf(range), range]))
    if (open === null) return
    for (const [key, was] of open.ranges) {
      const now = seen.get(key)
      if (now === undefined) open.ranges.delete(key)
      else if (now.attempt === was.attempt) {
        // It moves on under the same worker, so it was not the lost one's, or its last page was.
        if (now.closed) open.ranges.delete(key)
        else was.cursor = now.cursor
      } else if (now.closed || !isSame(now.cursor, was.cursor)) {
        takeovers.push({ cause: open.cause, seconds: (performance.now() - open.at) / 1_000 })
        open.ranges.delete(key)
      }
    }
  }
  const watch = async () => {
    while (!ending.signal.aborted) {
      // MongoDB is away at times.
      await look().catch(() => undefined)
      await sleep(everyMs)
    }
  }
  const running = watch()
  return {
    takeovers,
    lost(cause) {
      const taken = [...seen].filter(([, { closed, attempt }]) => !closed && attempt > 0)
      const ranges = new Map(taken.map(([key, range]) => [key, { ...range }]))
      open = { cause, at: performance.now(), ranges }
    },
    disturbed() {
      open = null
    },
    async stop() {
      ending.abort()
      await running
    },
  }
}

function keyOf({ _id }: RangeDoc): string {
  return `${_id.rotation}/${_id.shard}`
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}
