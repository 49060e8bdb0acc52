import { KeyturnError } from '../../../contracts/errors.ts'
import { faultFrom, type Fault } from '../wire/errors.ts'
import { LaneAead } from './aead.ts'
import { LaneBatches } from './batches.ts'
import { destroy, find, generate, makeCanary, opensCanary } from './ceremony.ts'
import { loadKey, proveKey, type LaneKey } from './loaded-keys.ts'
import type { LaneOp, LaneRequest, Replies, ReplyTo, Requests } from '../wire/messages.ts'
import { LaneProbe, probeMechanisms } from './mechanisms.ts'
import { LaneSession } from './session.ts'
import { asBuffer } from '../wire/packing.ts'
import { withVendorHint } from '../vendors/vendor-hint.ts'
import { vendorOf } from '../vendors/catalogue.ts'

interface Opened {
  session: LaneSession
  batches: LaneBatches
  probe: LaneProbe
  aead: LaneAead
}

/** One session with its keys, in a thread of a lane process. Runs one request after the other. */
export class Lane {
  readonly #keys = new Map<number, LaneKey>()
  #opened: Opened | undefined
  #modulePath = ''

  /** Runs a request. Throws a CkrError, a KeyturnError, or the error of a bug. */
  run(request: LaneRequest): ReplyTo<LaneRequest> {
    return this.#handle(request.op, request)
  }

  /** Describes an error of `run` for the pool, with the hint for this vendor's module. */
  faultOf(error: unknown): Fault {
    const manufacturer = this.#opened?.session.token.name.manufacturer ?? null
    return withVendorHint(faultFrom(error), error, vendorOf(this.#modulePath, manufacturer))
  }

  /** The counts since the last call of this method. */
  takeCounts(): { calls: number; byCode: Record<number, number> } {
    const session = this.#opened?.session
    if (session === undefined) return { calls: 0, byCode: {} }
    const { calls, byCode } = session
    session.calls = 0
    session.byCode = {}
    return { calls, byCode }
  }

  #handle<Op extends LaneOp>(op: Op, request: Requests[Op]): Replies[Op] {
    return this.#handlers[op](request)
  }

  readonly #handlers: { readonly [Op in LaneOp]: (request: Requests[Op]) => Replies[Op] } = {
    open: (request) => {
      this.#modulePath = request.modulePath
      const session = new LaneSession(request)
      const batches = new LaneBatches(session, this.#keys)
      const probe = new LaneProbe(session)
      this.#opened = { session, batches, probe, aead: new LaneAead(session) }
      return session.describe()
    },
    close: ({ last }) => {
      this.#opened?.session.close(last)
      this.#opened = undefined
      return null
    },
    rewrap: (request) => this.#require().batches.run(request),
    unwrap: (request) => this.#require().batches.run(request),
    wrap: (request) => this.#require().batches.run(request),
    load: (request) => {
      this.#keys.set(request.version, loadKey(this.#require().session, request))
      return null
    },
    prove: ({ version }) => {
      proveKey(this.#require().session, this.#key(version))
      return null
    },
    check: () => {
      this.#require().session.check()
      return null
    },
    generate: ({ label, keyId, keystore }) =>
      generate(this.#require().session, label, {
        keyId: asBuffer(keyId),
        keystore: orNull(keystore),
      }),
    find: ({ label, keyId }) => find(this.#require().session, label, orNull(keyId)),
    destroy: ({ label, keyId, proof }) =>
      destroy(this.#require().session, label, asBuffer(keyId), proof),
    'make-canary': ({ label, keyId, gcm, canaryAad }) =>
      makeCanary(this.#require().session, {
        label,
        keyId: orNull(keyId),
        gcm,
        canaryAad: asBuffer(canaryAad),
      }),
    'opens-canary': (request) =>
      opensCanary(this.#require().session, { ...request, keyId: orNull(request.keyId) }),
    'probe-mechanisms': () => probeMechanisms(this.#require().session),
    'probe-generate': ({ label, keyId, onToken }) =>
      this.#require().probe.generate(label, asBuffer(keyId), onToken),
    'probe-aead': ({ label, keyId, modes }) =>
      this.#require().aead.find(label, orNull(keyId), modes),
    'probe-ivs': ({ wraps }) => this.#require().aead.wrapMore(wraps),
    'probe-clean-up': ({ label, keyId }) => this.#require().probe.cleanUp(label, asBuffer(keyId)),
  }

  #key(version: number): LaneKey {
    const key = this.#keys.get(version)
    if (key !== undefined) return key
    throw new KeyturnError('kek-not-loaded', `version ${version} is not loaded in this lane`)
  }

  #require(): Opened {
    if (this.#opened !== undefined) return this.#opened
    throw new KeyturnError('internal', 'a request came to a lane that is not open')
  }
}

function orNull(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : asBuffer(bytes)
}
