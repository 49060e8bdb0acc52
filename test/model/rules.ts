/** What the fence of the protocol is made of; each can be left out, to see the search find what it kept away. */
export interface Rules {
  /** A process wraps only while its lease is young. */
  lease: boolean
  /** A heartbeat is written before `kek_active` is read. */
  heartbeatFirst: boolean
  settleWaits: boolean
  tailSweep: boolean
  /** A page's updates go with the range's document, in one transaction. */
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
  /** Verify and promote count only answers to this rotation's question; else any claim of a version. */
  freshAnswers: boolean
  /** A process wraps only by a proof of the version that is younger than its lease, and proves it first otherwise. */
  freshProofs: boolean
  /** Only the canary renews a proof; else a use does, which opens what it wrapped itself. */
  canaryRenews: boolean
  /**
   * The step that destroys looks at all guards itself, behind a fence that is recorded. Else it does what it is told: whoever
   * may call it says that they have passed.
   */
  ownGuards: boolean
  /**
   * Finish counts, and looks whether the fleet is past, itself. Else it does what it is told: whoever may call it says that
   * settle is over.
   */
  ownEnd: boolean
  /** A step looks for its task's row in the keystore that it has open; else a worker of a copy answers by what it finds there. */
  ownTasks: boolean
  /** A key in the token is destroyed only from the keystore that made it; else from each whose row names it. */
  ownKeys: boolean
  /**
   * A process that has seen more than the keystore says follows nothing of it, wraps nothing and vouches for nothing. Else
   * it goes on with the newer state that it knows.
   */
  heedsOlder: boolean
  /** `setup --restored` takes versions that were never active in this state for left: they may have been in the lost one. */
  restoredRows: boolean
  /** An odd envelope may need any version; else it counts as none. */
  oddCounts: boolean
  /** The last look counts odd envelopes and those under the version at one moment; else one after the other. */
  oneMoment: boolean
}

export const protocol: Rules = {
  ...{ lease: true, heartbeatFirst: true, settleWaits: true, tailSweep: true },
  ...{ rangeDocument: true, closeRanges: true, marks: true, epochOfPreflight: true },
  ...{ rotationRow: true, fence: true, ownGuards: true, ownTasks: true },
  ...{ ownEnd: true, ownKeys: true, heedsOlder: true, restoredRows: true },
  ...{ oddCounts: true, oneMoment: true },
  ...{ freshAnswers: true, freshProofs: true, canaryRenews: true },
}
