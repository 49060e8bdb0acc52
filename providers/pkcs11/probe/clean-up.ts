import { KeyturnError } from '../../../contracts/errors.ts'
import type { AskLane } from '../pool/in-flight.ts'
import { withGrace } from '../pool/with-grace.ts'
import { LaneLost } from '../pool/lane-host.ts'
import type { CleanUpReply, GenerateReply, LaneRequest } from '../wire/messages.ts'
import { asBuffer } from '../wire/packing.ts'
import type { LanePool } from '../pool/pool.ts'
import { claimOn, freshProbeId, PROBE_LABEL } from '../wire/probe-key.ts'

export const PHASE_DEADLINE_MS = 30_000
/** For another lane to connect, log in and destroy the key, once somebody wants to leave. */
const LAST_CHANCE_MS = 10_000

/** What became of the throwaway key, and what is to be known of keys that others left. */
export interface Cleaned {
  detail: string
  warnings: string[]
}

/** The key of one probe: how it is called, and whether it can outlive the session that made it. */
export class ThrowawayKey {
  readonly label = PROBE_LABEL
  readonly keyId = freshProbeId()
  /** A key in the token was asked for: from now on somebody must destroy it. */
  #onToken = false
  /** And the token was given up before it answered: it may still make it. */
  #unanswered = false

  /** Asks for it as a session object, and where the token has none as one of the token. */
  async make(
    ask: (onToken: boolean) => Promise<GenerateReply>,
    signal?: AbortSignal,
  ): Promise<GenerateReply> {
    const reply = await ask(false)
    if (reply.made) return reply
    signal?.throwIfAborted()
    this.#onToken = true
    try {
      return await ask(true)
    } catch (error) {
      const lost = error instanceof KeyturnError ? error.cause : null
      this.#unanswered = lost instanceof LaneLost && lost.why !== 'died'
      throw error
    }
  }

  /**
   * Destroys it and sees that it is gone: in the same lane first (a session key is seen by its own process only), then in
   * any other. Destroys what earlier probes left, too. Throws a KeyturnError when it may be there afterwards.
   */
  async cleanUp(pool: LanePool, ask: AskLane, signal?: AbortSignal): Promise<Cleaned> {
    const { label, keyId } = this
    const isLeaving = (): boolean => signal?.aborted === true
    const request = (what: LaneRequest): Promise<unknown> =>
      ask(what, PHASE_DEADLINE_MS, signal).catch((error: unknown) => {
        if (isLeaving() && !this.#onToken) throw error
        return inAnyLane(pool, what, signal)
      })
    let reply: CleanUpReply
    try {
      reply = (await request({ op: 'probe-clean-up', label, keyId })) as CleanUpReply
    } catch (error) {
      // Its process is no more, and a session object ends with its session.
      if (isLeaving() && !this.#onToken)
        return { detail: 'it ended with its session', warnings: [] }
      throw error
    }
    const { destroyed, others } = reply
    if (destroyed === 0 && this.#unanswered) {
      throw new KeyturnError('hsm-failed', 'the token did not answer, and may make it later')
    }
    const own = destroyed === 0 ? 'nothing was left behind' : 'the throwaway key is gone'
    if (isLeaving()) return { detail: own, warnings: [] }
    const { tidied, warnings } = await tidy(others.map(asBuffer), request)
    return { detail: tidied === 0 ? own : `${own}, ${tidied} of earlier probes too`, warnings }
  }
}

/** Once somebody wants to leave there is a last chance only. */
async function inAnyLane(
  pool: LanePool,
  what: LaneRequest,
  leave: AbortSignal | undefined,
): Promise<unknown> {
  const late = new AbortController()
  const { signal } = late
  const giveUp = (): void =>
    late.abort(new KeyturnError('hsm-away', 'the HSM does not answer any more'))
  const run = () => pool.run(what, { urgent: true, signal })
  return (await withGrace(leave, giveUp, run, LAST_CHANCE_MS)).value
}

/** Destroys the keys of probes that ended without it (killed, the host gone), and names those that may be in use or another's. */
async function tidy(
  ids: readonly Buffer[],
  request: (what: LaneRequest) => Promise<unknown>,
): Promise<{ tidied: number; warnings: string[] }> {
  let tidied = 0
  const warnings: string[] = []
  for (const keyId of ids) {
    const claim = claimOn(keyId)
    if (claim === 'in-use') continue
    const name = `key "${PROBE_LABEL}" with id ${keyId.toString('hex') || '(none)'}`
    if (claim === 'abandoned') {
      try {
        await request({ op: 'destroy', label: PROBE_LABEL, keyId, proof: null })
        tidied += 1
      } catch (error) {
        if (!(error instanceof KeyturnError)) throw error
        warnings.push(`${name} of an earlier probe could not be destroyed: ${error.message}`)
      }
    } else warnings.push(`${name} ${claim === 'not-ours' ? foreign : elsewhere}`)
  }
  return { tidied, warnings }
}

const foreign = 'is in the token, and was not named by a probe: destroy it, if nobody needs it'
const elsewhere =
  'is in the token: a probe on another host runs, or was killed (then one after an hour destroys it)'
