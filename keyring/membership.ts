import type { NodeKind, NotReadyReason, ProcessRole } from '../contracts/fleet.ts'
import type { FleetTimings } from '../contracts/settings.ts'
import type { VersionPlace } from '../contracts/uses.ts'
import type { Log } from '../observability/log.ts'
import type { KekProvider } from '../providers/provider.ts'
import type { Store } from '../store/store.ts'
import type { MemberEventName, MemberListener } from './member-events.ts'

/**
 * A process's membership in the fleet, the same for workers and applications. One beat proves the keys that are due, writes
 * the heartbeat, and only then reads the keystore and follows `kek_active`. If the keystore has changed, another round
 * follows immediately: it loads or unloads keys and reports them. The lease counts from the moment before the heartbeat was
 * sent, and only if the whole round succeeded.
 */
export interface FleetMember {
  readonly node: string
  /** Random id of this process; with the node's name the `_id` of its heartbeat. */
  readonly boot: string
  /** Of the settings in this process's file, as its heartbeat carries it. */
  readonly settingsHash: Buffer
  state(): MemberState
  /** Runs a whole beat that begins after the call. Rejects with the reason if it fails. */
  beat(): Promise<void>
  /**
   * Returns when this process may wrap under the version (default: the active one): its lease is young, and so is its proof
   * of that version. If needed it first renews the lease by one beat, and proves a version whose last proof is older than a
   * lease, so that the cost of proofs grows with use. Throws the reason why it may not wrap.
   */
  requireLease(version?: number): Promise<void>
  /** Checks the lease, and with a version also its proof, after the wraps are made; renews nothing. Throws lease-expired. */
  assertLease(version?: number): void
  countWraps(version: number, wraps: number): void
  /**
   * Returns when the version can unwrap; reads the keystore again at most once. If the version is pending removal, it records
   * this use, once for each of `places`. Throws kek-not-loaded.
   */
  requireVersion(version: number, places: readonly VersionPlace[]): Promise<void>
  on<E extends MemberEventName>(event: E, listener: MemberListener<E>): void
  /** A clean stop: deletes the heartbeat document, and takes an ephemeral node off the roster. */
  leave(): Promise<void>
}

export interface MemberState {
  installed: boolean
  active: { version: number; epoch: number } | null
  /** Set when this process cannot use the active version, so that it wraps nothing. */
  degraded: { reason: NotReadyReason; message: string } | null
  loaded: number[]
  /** The versions that it could not load. */
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
  /** The file's timings. The ones that `setup` recorded take precedence. */
  timings: FleetTimings
  settingsHash: Buffer
  log: Log
}
