import { KeyturnError } from '../../../contracts/errors.ts'
import { faultFrom, type Fault } from '../wire/errors.ts'
import { LaneAead } from './aead.ts'
import { LaneBatches } from './batches.ts'
import { destroy, find, generate, makeCanary, opensCanary } from './ceremony.ts'
import { loadKey, proveKey, type LaneKey } from './loaded-keys.ts'
import type { LaneRequest } from '../wire/messages.ts'
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
  run(request: LaneRequest): unknown {
    if (request.op === 'open') return this.#open(request)
    if (request.op === 'close') {
      this.#opened?.session.close(request.last)
      this.#opened = undefined
      return null
    }
    return this.#work(request, this.#require())
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

  #open(request: LaneRequest & { op: 'open' }): unknown {
    this.#modulePath = request.modulePath
    const session = new LaneSession(request)
    const batches = new LaneBatches(session, this.#keys)
    const probe = new LaneProbe(session)
    this.#opened = { session, batches, probe, aead: new LaneAead(session) }
    return session.describe()
  }

  #work(
    request: Exclude<LaneRequest, { op: 'open' } | { op: 'close' }>,
    { session, batches, probe, aead }: Opened,
  ): unknown {
    switch (request.op) {
      case 'rewrap':
      case 'unwrap':
      case 'wrap':
        return batches.run(request)
      case 'load':
        this.#keys.set(request.version, loadKey(session, request))
        return null
      case 'prove':
        proveKey(session, this.#key(request.version))
        return null
      case 'check':
        session.check()
        return null
      case 'generate':
        return generate(session, request.label, {
          keyId: asBuffer(request.keyId),
          keystore: orNull(request.keystore),
        })
      case 'find':
        return find(session, request.label, orNull(request.keyId))
      case 'destroy':
        return destroy(session, request.label, asBuffer(request.keyId), request.proof)
      case 'make-canary':
        return makeCanary(session, {
          ...request,
          keyId: orNull(request.keyId),
          canaryAad: asBuffer(request.canaryAad),
        })
      case 'opens-canary':
        return opensCanary(session, { ...request, keyId: orNull(request.keyId) })
      case 'probe-mechanisms':
        return probeMechanisms(session)
      case 'probe-generate':
        return probe.generate(request.label, asBuffer(request.keyId), request.onToken)
      case 'probe-aead':
        return aead.find(request.label, orNull(request.keyId), request.modes)
      case 'probe-ivs':
        return aead.wrapMore(request.wraps)
      case 'probe-clean-up':
        return probe.cleanUp(request.label, asBuffer(request.keyId))
    }
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
