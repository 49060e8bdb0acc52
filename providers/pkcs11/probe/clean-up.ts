import { KeyturnError } from '../../../contracts/errors.ts'
import type { SendToLane } from '../pool/in-flight.ts'
import { withGrace } from '../pool/with-grace.ts'
import { LaneLost } from '../pool/lane-host.ts'
import type {
  LaneRequest,
  ProbeCleanUpReply,
  ProbeGenerateReply,
  ReplyTo,
} from '../wire/messages.ts'
import { asBuffer } from '../wire/packing.ts'
import type { LanePool } from '../pool/pool.ts'
import { claimOn, freshProbeId, PROBE_LABEL } from '../wire/probe-key.ts'

export const PHASE_DEADLINE_MS = 30_000
/** After an abort: time for another lane to connect, log in and destroy the key. */
const LAST_CHANCE_MS = 10_000

/** The result for the throwaway key, and warnings about keys that other probes left. */
export interface Cleaned {
  detail: string
  warnings: string[]
}

/** The key of one probe: its label and id, and whether it can outlive its session. */
export class ThrowawayKey {
  readonly label = PROBE_LABEL
  readonly keyId = freshProbeId()
  /** A token key was requested: it must be destroyed. */
  #onToken = false
  /** The token did not answer that request in time: it may still make the key. */
  #unanswered = false

  /** Makes the key as a session object, or as a token object if the token refuses session keys. */
  async make(
    generate: (onToken: boolean) => Promise<ProbeGenerateReply>,
    signal?: AbortSignal,
  ): Promise<ProbeGenerateReply> {
    const reply = await generate(false)
    if (reply.made) return reply
    signal?.throwIfAborted()
    this.#onToken = true
    try {
      return await generate(true)
    } catch (error) {
      const lost = error instanceof KeyturnError ? error.cause : null
      this.#unanswered = lost instanceof LaneLost && lost.why !== 'died'
      throw error
    }
  }

  /**
   * Destroys the key and verifies that it is gone: in the same lane first (only its own process sees a session key), then in
   * any other. Also destroys keys that earlier probes left. Throws a KeyturnError when the key may still exist.
   */
  async cleanUp(pool: LanePool, send: SendToLane, signal?: AbortSignal): Promise<Cleaned> {
    const { label, keyId } = this
    const isLeaving = (): boolean => signal?.aborted === true
    const run = <R extends LaneRequest>(request: R): Promise<ReplyTo<R>> =>
      send(request, PHASE_DEADLINE_MS, signal).catch((error: unknown) => {
        if (isLeaving() && !this.#onToken) throw error
        return inAnyLane(pool, request, signal)
      })
    let reply: ProbeCleanUpReply
    try {
      reply = await run({ op: 'probe-clean-up', label, keyId })
    } catch (error) {
      // Its process has ended, and with it the session and the session object.
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
    const { tidied, warnings } = await tidy(others.map(asBuffer), run)
    return { detail: tidied === 0 ? own : `${own}, and ${tidied} of earlier probes`, warnings }
  }
}

/** Runs a request in any lane; after an abort it has LAST_CHANCE_MS. */
async function inAnyLane<R extends LaneRequest>(
  pool: LanePool,
  request: R,
  leave: AbortSignal | undefined,
): Promise<ReplyTo<R>> {
  const late = new AbortController()
  const { signal } = late
  const giveUp = (): void =>
    late.abort(new KeyturnError('hsm-away', 'the HSM does not answer any more'))
  const run = () => pool.run(request, { urgent: true, signal })
  return (await withGrace(leave, giveUp, run, LAST_CHANCE_MS)).value
}

/** Destroys keys of probes that ended without a clean-up (killed, host gone), and warns of keys that may be in use or are not from a probe. */
async function tidy(
  ids: readonly Buffer[],
  run: (request: LaneRequest) => Promise<unknown>,
): Promise<{ tidied: number; warnings: string[] }> {
  let tidied = 0
  const warnings: string[] = []
  for (const keyId of ids) {
    const claim = claimOn(keyId)
    if (claim === 'in-use') continue
    const name = `key "${PROBE_LABEL}" with id ${keyId.toString('hex') || '(none)'}`
    if (claim === 'abandoned') {
      try {
        await run({ op: 'destroy', label: PROBE_LABEL, keyId, proof: null })
        tidied += 1
      } catch (error) {
        if (!(error instanceof KeyturnError)) throw error
        warnings.push(`${name} of an earlier probe could not be destroyed: ${error.message}`)
      }
    } else warnings.push(`${name} ${claim === 'not-ours' ? foreign : elsewhere}`)
  }
  return { tidied, warnings }
}

const foreign = 'is in the token, and its id is not from a probe: destroy it if it is not needed'
const elsewhere =
  'is in the token: a probe on another host runs, or was killed (then one after an hour destroys it)'
