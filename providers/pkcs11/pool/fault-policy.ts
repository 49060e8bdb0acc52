import { KeyturnError } from '../../../contracts/errors.ts'
import type { Fault } from '../wire/errors.ts'
import type { Job } from './job.ts'
import type { LaneLost } from './lane-host.ts'

/** How often a job may lose its lane, or fail with a fault that a retry should fix, before it fails for good. */
const MOST_LOSSES = 3
const SHORT_PAUSE_MS = 100
const FIRST_PAUSE_MS = 100
/** Shorter than a job's shortest patience (5 s), so that each waiting job gets a turn. */
const LONGEST_PAUSE_MS = 4_000

/** What the pool does about a fault that the lane could not fix. */
export interface FaultPolicy {
  /** `replace`: start a new child process, and so a new module, login and handles. */
  lane: 'keep' | 'replace'
  /** `halve`: let half as many lanes work from now on. */
  concurrency: 'keep' | 'halve'
  /** Pause of all lanes before the next job starts. */
  pauseMs: number
  job: 'again' | 'fail'
}

/** A pause that doubles with each consecutive failure. */
export function pauseAfter(times: number, longestMs: number = LONGEST_PAUSE_MS): number {
  return Math.min(longestMs, FIRST_PAUSE_MS * 2 ** times)
}

/** Chooses what to do by the fault's class (FaultClass in wire/errors.ts), and counts the fault on the job. */
export function policyForFault(fault: Fault, job: Job): FaultPolicy {
  switch (fault.fault) {
    case 'reconnect':
      return {
        lane: 'replace',
        concurrency: 'keep',
        job: 'again',
        pauseMs: pauseAfter(job.setbacks++),
      }
    case 'back-off':
      return {
        lane: 'keep',
        concurrency: 'halve',
        job: 'again',
        pauseMs: pauseAfter(job.setbacks++),
      }
    case 'session':
    case 'key':
    case 'data':
      // The lane has already tried a new session, the lookup and the canary. On the second failure the client library may
      // be dead until a new process loads it.
      return ++job.losses === 1
        ? { lane: 'keep', concurrency: 'keep', job: 'again', pauseMs: SHORT_PAUSE_MS }
        : policyForFault({ ...fault, fault: 'reconnect' }, job)
    case 'pin':
    case 'never':
      return { lane: 'keep', concurrency: 'keep', job: 'fail', pauseMs: 0 }
  }
}

/**
 * A job's lane died, or was killed because it did not answer. Two losses may be chance; after three the job itself is the
 * cause and fails. A lane that was replaced for another job does not count: then only the job's patience ends it.
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
