import { EventEmitter } from 'node:events'
import type { ErrorCode } from '../contracts/errors.ts'
import type { VersionState } from '../contracts/kek.ts'
import type { LeaseState } from '../protocol/lease.ts'
import type { Log } from '../observability/log.ts'

/** The events of a process of the fleet, by name. */
export interface MemberEvents {
  /** The process wraps under another version from now on. `from` is null for the first version that it sees. */
  'version-switched': { from: number | null; to: number; epoch: number }
  /** The process may not wrap until a heartbeat succeeds again. */
  'lease-lost': { lease: LeaseState }
  /** A version that the process should hold can no longer be loaded or proven. */
  'key-missing': { version: number; code: ErrorCode; message: string }
  /** The application opened an envelope under a version that is pending removal or destroyed. */
  'removed-version-used': { version: number; state: VersionState }
  /** The keystore is in an older state than this process has seen: it opens what it can, and wraps nothing. */
  'keystore-older': { message: string }
  /** A heartbeat was written. */
  beat: { at: Date }
}

export type MemberEventName = keyof MemberEvents
export type MemberListener<E extends MemberEventName> = (event: MemberEvents[E]) => void

/** Logs and emits events. The error of a listener is logged, and has no other effect. */
export class MemberEmitter {
  readonly #emitter = new EventEmitter()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  on<E extends MemberEventName>(event: E, listener: MemberListener<E>): void {
    this.#emitter.on(event, (detail: MemberEvents[E]) => {
      try {
        listener(detail)
      } catch (err) {
        this.#log.error({ err, event }, 'a listener failed')
      }
    })
  }

  emit<E extends MemberEventName>(event: E, detail: MemberEvents[E]): void {
    const level = event === 'beat' ? 'trace' : event === 'version-switched' ? 'info' : 'warn'
    this.#log[level](detail as object, event.replaceAll('-', ' '))
    this.#emitter.emit(event, detail)
  }

  removeAllListeners(): void {
    this.#emitter.removeAllListeners()
  }
}
