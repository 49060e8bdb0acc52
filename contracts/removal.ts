import type { Guard } from './views.ts'
import type { VersionState } from './kek.ts'
import type { InstallIdentity } from './names.ts'

export interface RemoveInput {
  install: InstallIdentity
  version: number
  /** Names this removal; every decisive write is filtered by it. */
  request: string
  requestedBy: string
  destroyHsmKey: boolean
  acceptQuarantine: boolean
  withoutFence: boolean
  undoWindowMs: number
  /** Waits so long before the guards are looked at; for a policy's removal. */
  afterMs: number
}

export interface RemoveResult {
  version: number
  state: VersionState
  guards: Guard[]
  error: { code: string; message: string; hint?: string } | null
}

/** Answer of the query `progress` of `removeKek`. */
export interface RemovalProgress {
  version: number
  /** `waiting`: a policy's removal whose time has not come; nothing is recorded of it. */
  state: 'waiting' | 'checking' | 'pending-removal' | 'destroyed' | 'refused' | 'undone'
  /** When the waiting, or the window to undo it, is over. */
  dueAt: string | null
  guards: Guard[]
}
