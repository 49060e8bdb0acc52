import type { Store } from '../../store/store.ts'
import type { Stack } from '../stack.ts'
import type { WorkerProcess } from '../worker-process.ts'
import type { Commands } from './commands.ts'
import type { Reporter } from './reporter.ts'

/** What each step of the demo uses. */
export interface DemoContext {
  readonly stack: Stack
  readonly reporter: Reporter
  readonly keyturn: Commands
  /** The stack's database, to look at what the product did. */
  readonly store: Store
  readonly records: number
  /** Envelopes a second. */
  readonly maxRate: number
  /** By node; a restart replaces the entry. */
  readonly workers: Map<string, WorkerProcess>
}

export const nodes = ['vm-a', 'vm-b'] as const
