import type { NodeKind, NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { FleetTimings } from '../contracts/settings.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { MemberEventName, MemberListener } from './member-events.ts'

/**
 * A process's membership in the fleet, the same for workers and applications. One beat is: prove what is due, write the
 * heartbeat, and only then read the keystore and follow `kek_active`. What is news there is loaded or unloaded, and told, in
 * another round at once. The lease counts from the moment before the heartbeat was sent, and only if all of this succeeded.
 */
export interface FleetMember {
  readonly node: string
  /** Random id of this process; with the node's name the `_id` of its heartbeat. */
  readonly boot: string
  state(): MemberState
  /** A whole beat that begins after the call. Rejects with the reason why none succeeded. */
  beat(): Promise<void>
  /**
   * Returns when this process may wrap under the version (the active one, if none is given): its lease is young, and so is
   * its proof of that version. Renews the lease by one beat first, and proves the version where the last proof is older
   * than a lease, so that the cost of proofs goes with use. Throws what stands in the way.
   */
  requireLease(version?: number): Promise<void>
  /** The same at once, of the lease, and with a version of its proof: when the wraps are made already. Throws lease-expired. */
  assertLease(version?: number): void
  countWraps(version: number, wraps: number): void
  /** Returns when the version can unwrap; re-reads the keystore once. Throws kek-not-loaded. */
  requireVersion(version: number): Promise<void>
  on<E extends MemberEventName>(event: E, listener: MemberListener<E>): void
  /** A clean stop: the heartbeat document goes, an ephemeral node leaves the roster. */
  leave(): Promise<void>
}

export interface MemberState {
  installed: boolean
  active: { version: number; epoch: number } | null
  /** Set when this process cannot use the active version, so that it wraps nothing. */
  degraded: { reason: NotReadyReason; message: string } | null
  loaded: number[]
  /** What it tried to load and could not. */
  notLoaded: { version: number; reason: NotReadyReason }[]
  leaseOk: boolean
}

export interface MemberOptions {
  store: Store
  provider: KekProvider
  install: string
  node: string
  kind: NodeKind
  role: ProcessRole
  /** Of the file; what `setup` recorded is preferred. */
  timings: FleetTimings
  settingsHash: Buffer
  log: Log
}
