import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'

export interface BenchOptions {
  providers: ProviderName[]
  /** Number of envelopes, instead of the part's own size. */
  size: number | null
  /** Use the sizes that the bars are defined for. */
  full: boolean
  /** Number of interleaved repetitions of each comparison. */
  pairs: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  workers: number
  /** Node flags for each worker. */
  workerFlags: string[]
  /** The smaller size that `size` compares memory with. */
  small: number
  /** Number of envelopes for the peer that updates one record after the other. */
  peerEnvelopes: number
  /** Length of each measurement of `apps`; twice that for `rate`. */
  seconds: number
  /** Number of processes that `fleet` simulates. */
  processes: number
  /** Whether `fleet` starts them as processes of their own. */
  real: boolean
  /** Length of `soak`. */
  minutes: number
  /** Decides the faults of `soak`. */
  seed: number
  print: (line: string) => void
}

/** The number of envelopes for a part: `--size`, otherwise its own size. */
export function sizeOf({ size, full }: BenchOptions, own: { usual: number; full: number }): number {
  return size ?? (full ? own.full : own.usual)
}
