import type { Overview } from '../contracts/overview.ts'

/** `kek_overview`: one, what the pages and metrics of all workers show. */
export interface OverviewDoc {
  _id: 'overview'
  /** Of the worker that takes it, or took it. */
  claim: string
  /** When the next worker may take it. */
  next_at: Date
  /** Null or absent before the first. */
  as_of?: Date | null
  overview?: Overview | null
}
