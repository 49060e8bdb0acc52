export type ProcessRole = 'worker' | 'app'
export type NodeKind = 'host' | 'ephemeral'

/** Why a process is not ready for a version. Each has its hint in `readinessHints`. */
export type NotReadyReason =
  | 'missing'
  | 'stale'
  | 'not-loaded'
  | 'wrong-key'
  | 'cannot-encrypt'
  | 'material-missing'
  | 'lease-expired'
  | 'config-differs'
  | 'keystore-older'

export const readinessHints: Record<NotReadyReason, string> = {
  missing: 'start its worker, or: keyturn nodes decommission NAME',
  stale: 'its process does not answer: look at the host, then restart the process',
  'not-loaded': 'it has not loaded the version yet: wait one heartbeat, or restart it',
  'wrong-key': 'its token holds another key under the same label: point it at the shared HSM',
  'cannot-encrypt': 'its key refuses to encrypt (CKA_ENCRYPT false?): make a new version',
  'material-missing': 'its key is not there: set the variable, or find the key in its token',
  'lease-expired': 'it cannot reach MongoDB in time: look at its network and its clock',
  'keystore-older':
    'it has seen a newer state of this keystore: if this one was restored, run keyturn setup --restored',
  'config-differs': 'its keyturn.yaml differs from what setup recorded: align the file, restart it',
}

/** A question for proofs (`kek_questions`): a fresh nonce, and the version to prove; null: each loaded version. */
export interface ProofQuestion {
  readonly nonce: string
  readonly target: number | null
}

export interface ReadinessNode {
  node: string
  role: ProcessRole | null
  pid: number | null
  ready: boolean
  reason: NotReadyReason | null
  provenAt: string | null
}

/** The shape of `verify --json`. */
export interface ReadinessReport {
  target: number
  ready: boolean
  nodes: ReadinessNode[]
  /** False if a fleet of one node opened its own proof. */
  crossChecked: boolean
}

export interface FleetProcess {
  role: ProcessRole
  pid: number
  current: number | null
  epoch: number | null
  loaded: number[]
  heartbeatAgeSeconds: number
  /** The malformed member of its document; absent if there is none. */
  malformed?: string
}

/** The shape of one entry of `status.fleet` and of `nodes`. */
export interface FleetNode {
  node: string
  kind: NodeKind
  live: boolean
  decommissioned: boolean
  processes: FleetProcess[]
}
