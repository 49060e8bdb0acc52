import type { ErrorReport } from './errors.ts'
import type { VersionState } from './kek.ts'
import type { InstallIdentity } from './names.ts'
import type { Guard } from './views.ts'

/** What a step of a removal is told: ids. All else it reads from the request's row, which a command wrote before. */
export interface RemoveInput {
  install: InstallIdentity
  /** The row of its task, in the keystore that it is for. */
  task: string
  version: number
  /** `_id` of the request's row; every decisive write is filtered by it. */
  request: string
}

/** What is asked for besides the version itself. Kept in the request's row. */
export interface RemovalOptions {
  destroyHsmKey: boolean
  acceptQuarantine: boolean
  withoutFence: boolean
}

/**
 * Where a request stands, by what MongoDB says. `planned`: its time has not come. `asked`: nothing was done yet.
 * `fencing`: the version is pending, MongoDB does not refuse it yet. `pending`: it does, the window runs or is over.
 * `key`: destroyed, and its object in the HSM is yet to go. `over`: nothing is left to do.
 */
export type RemovalPhase = 'planned' | 'asked' | 'fencing' | 'pending' | 'key' | 'over'

/** What became of the object in the HSM. `absent`: looked for and not found. `none`: the key was never in an HSM. */
export type HsmKeyState = 'destroyed' | 'absent' | 'kept' | 'none'

/** How far a removal is after one of its steps, by the database. */
export interface RemovalStep {
  version: number
  request: string
  phase: RemovalPhase
  state: VersionState
  /** How long it is to be left alone before its next step, in ms. */
  waitMs: number
  /** When that is over; null when nothing is waited for. */
  dueAt: string | null
  hsmKey: HsmKeyState
  /** As this step found them; empty for a step that looks at none. */
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
  /** When the waiting, or the window to undo it, is over. */
  dueAt: string | null
  guards: Guard[]
}
