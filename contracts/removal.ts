import type { ErrorReport } from './errors.ts'
import type { HsmKeyState, VersionState } from './kek.ts'
import type { InstallIdentity } from './names.ts'
import type { Guard } from './views.ts'

/** Input of a removal's step: ids only. It reads the rest from the request's row, which a command wrote before. */
export interface RemoveInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  version: number
  /** `_id` of the request's row; every decisive write is filtered by it. */
  request: string
}

/** Options of a request. Kept in its row. */
export interface RemovalOptions {
  destroyHsmKey: boolean
  acceptQuarantine: boolean
  withoutFence: boolean
}

/**
 * Phase of a request, derived from MongoDB. `planned`: its time has not come. `asked`: nothing was done yet. `fencing`: the
 * version is pending, MongoDB does not refuse it yet. `pending`: it does; the window runs or is over. `key`: destroyed, the
 * HSM object remains. `over`: nothing is left to do.
 */
export type RemovalPhase = 'planned' | 'asked' | 'fencing' | 'pending' | 'key' | 'over'

/** State of a removal after one of its steps, from the database. */
export interface RemovalStep {
  version: number
  request: string
  phase: RemovalPhase
  state: VersionState
  /** Wait before the next step, in ms. */
  waitMs: number
  /** When the wait ends; null if there is none. */
  dueAt: string | null
  hsmKey: HsmKeyState
  /** As this step found them; empty if it evaluates none. */
  guards: Guard[]
  /** Why it was refused. */
  error: ErrorReport | null
}

export interface RemoveResult {
  version: number
  request: string
  state: VersionState
  hsmKey: HsmKeyState
  guards: Guard[]
  error: ErrorReport | null
}

/** Answer of the query `progress` of `removeKek`. */
export interface RemovalProgress {
  version: number
  phase: RemovalPhase
  /** When the wait or the undo window ends. */
  dueAt: string | null
  guards: Guard[]
}
