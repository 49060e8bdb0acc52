import type { ProviderName } from '../contracts/kek.ts'
import type { CheckMode } from '../contracts/settings.ts'

export interface BenchOptions {
  providers: ProviderName[]
  /** Envelopes, instead of what the part would take. */
  size: number | null
  /** Use the sizes that the bars are defined for. */
  full: boolean
  /** Interleaved repetitions of what is compared. */
  pairs: number
  page: number
  shards: number | 'auto'
  check: CheckMode
  workers: number
  /** For each worker's Node. */
  workerFlags: string[]
  /** The smaller size that `size` compares memory with. */
  small: number
  /** Envelopes for the peer that takes one record after the other. */
  peerEnvelopes: number
  /** Of each stretch that `apps` measures; twice that for `rate`. */
  seconds: number
  /** Of the fleet that `fleet` simulates. */
  processes: number
  say: (line: string) => void
}

/** How many envelopes a part takes: `--size`, else its own size. */
export function sizeOf({ size, full }: BenchOptions, own: { usual: number; full: number }): number {
  return size ?? (full ? own.full : own.usual)
}
