import { KeyturnError } from '../../../contracts/errors.ts'
import type { Fault } from '../wire/errors.ts'
import type { Job } from './job.ts'
import type { LaneLost } from './lane-host.ts'

/** How often a job may lose its lane, or meet a fault that a repeat should have mended, before it is given up. */
const MOST_LOSSES = 3
const SHORT_PAUSE_MS = 100
const FIRST_PAUSE_MS = 100
/** Shorter than anybody's patience: whoever waits has a turn before it is over. */
const LONGEST_PAUSE_MS = 4_000

/** What the pool does about a fault that a lane could not mend by itself. */
export interface FaultPolicy {
  /** `replace`: the lane's child process, and with it module, login and handles. */
  lane: 'keep' | 'replace'
  /** Whether fewer lanes shall be at work from now on. */
  concurrency: 'keep' | 'halve'
  /** For all lanes, before anything is begun. */
  pauseMs: number
  job: 'again' | 'fail'
}

/** A pause that doubles with each setback in a row. */
export function pauseAfter(times: number, longestMs: number = LONGEST_PAUSE_MS): number {
  return Math.min(longestMs, FIRST_PAUSE_MS * 2 ** times)
}

/** The table of 3-hsm.md ("class", "what to do"), counted on the job. */
export function policyForFault(fault: Fault, job: Job): FaultPolicy {
  switch (fault.fault) {
    case 'reconnect':
      return {
        ...{ lane: 'replace', concurrency: 'keep', job: 'again' },
        pauseMs: pauseAfter(job.setbacks++),
      }
    case 'back-off':
      return {
        ...{ lane: 'keep', concurrency: 'halve', job: 'again' },
        pauseMs: pauseAfter(job.setbacks++),
      }
    case 'session':
    case 'key':
    case 'data':
      // The lane tried a new session, the lookup and the canary already. A second time it is more than a session that is
      // lost, or a moment: a client library may be dead until a new process loads it.
      return ++job.losses === 1
        ? { lane: 'keep', concurrency: 'keep', job: 'again', pauseMs: SHORT_PAUSE_MS }
        : policyForFault({ ...fault, fault: 'reconnect' }, job)
    case 'pin':
    case 'never':
      return { lane: 'keep', concurrency: 'keep', job: 'fail', pauseMs: 0 }
  }
}

/**
 * A lane died under a job, or was killed for its silence. Twice may be chance, three times it is this very work. A lane
 * that was replaced because of another job says nothing about this one, whatever it has met before: patience ends it.
 */
export function policyForLoss(lost: LaneLost, job: Job): FaultPolicy {
  const isOwn = lost.why !== 'discarded'
  if (isOwn) job.losses += 1
  const again = isOwn && job.losses >= MOST_LOSSES ? 'fail' : 'again'
  return { lane: 'replace', concurrency: 'keep', job: again, pauseMs: 0 }
}

export function lossError(lost: LaneLost): KeyturnError {
  return new KeyturnError('hsm-failed', lost.message, {
    hint: 'the PKCS#11 module crashes or hangs: look at its log and at the HSM',
    cause: lost,
  })
}
