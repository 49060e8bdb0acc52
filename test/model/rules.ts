/** The rules of the protocol. Each can be left out, to show that the search then finds a violation. */
export interface Rules {
  /** A process wraps only while its lease is valid. */
  lease: boolean
  /** A heartbeat is written before `kek_active` is read. */
  heartbeatFirst: boolean
  settleWaits: boolean
  tailSweep: boolean
  /** A page's updates and its range document are written in one transaction. */
  rangeDocument: boolean
  /** The end of a rotation, the next one and the guards of a removal close all ranges. */
  closeRanges: boolean
  /** Rotations mark the rows of their versions; promote writes both; a removal needs them unmarked. */
  marks: boolean
  /** Promote's compare-and-set is on the epoch that preflight saw, not on one that it reads itself. */
  epochOfPreflight: boolean
  /** Promote's other filters: the rotation has not ended or promoted, the rows have its marks. */
  rotationRow: boolean
  fence: boolean
  /** Verify and promote count only answers to this rotation's question; otherwise any proof of the version. */
  freshAnswers: boolean
  /**
   * A process wraps only with a proof of the version that is younger than its lease; otherwise it proves the version first.
   */
  freshProofs: boolean
  /** Only the canary renews a proof; otherwise so does every use, although it only opens its own wraps. */
  canaryRenews: boolean
  /**
   * The step that destroys checks all guards itself, after the fence is recorded. Otherwise it trusts its caller that they
   * have passed.
   */
  ownGuards: boolean
  /** Finish counts, and checks the fleet, itself. Otherwise it trusts its caller that settle is over. */
  ownEnd: boolean
  /** A step looks for its task's row in its own keystore; otherwise a worker of a copy answers from the copy. */
  ownTasks: boolean
  /** A key in the token is destroyed only by the keystore that made it; otherwise by every keystore whose row names it. */
  ownKeys: boolean
  /**
   * A process that has seen a newer state than the keystore's does not follow the keystore, wraps nothing and proves
   * nothing. Otherwise it continues with the newer state.
   */
  heedsOlder: boolean
  /**
   * `setup --restored` records versions that were never active in this state as left: they may have been active in the lost
   * one.
   */
  restoredRows: boolean
  /** An odd envelope may need any version; otherwise it is not counted. */
  oddCounts: boolean
  /** The last check counts odd envelopes and those under the version in one snapshot; otherwise one after the other. */
  oneMoment: boolean
}

export const protocol: Rules = {
  lease: true,
  heartbeatFirst: true,
  settleWaits: true,
  tailSweep: true,
  rangeDocument: true,
  closeRanges: true,
  marks: true,
  epochOfPreflight: true,
  rotationRow: true,
  fence: true,
  ownGuards: true,
  ownTasks: true,
  ownEnd: true,
  ownKeys: true,
  heedsOlder: true,
  restoredRows: true,
  oddCounts: true,
  oneMoment: true,
  freshAnswers: true,
  freshProofs: true,
  canaryRenews: true,
}
