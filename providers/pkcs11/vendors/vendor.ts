import type { ErrorCode } from '../../../contracts/errors.ts'
import type { IvMode } from '../../../contracts/kek.ts'

/** The failure that a hint is for. An absent member matches anything. */
export interface Failure {
  /** Function of the module, such as `C_Login`. */
  method?: string
  ckr?: number
  code?: ErrorCode
}

/**
 * What is known about a module before it is used: data, never a branch in the code. The probe finds out what the module
 * does; this helps to explain its answers. Facts that were not tested here name their source in a comment.
 *
 * `support`: `run` the tests run with it; `read` written from its documentation, not tested; `doubtful` AES-GCM is
 * unlikely; `unsupported` it has no AES-GCM.
 */
export interface Vendor {
  name: string
  support: 'run' | 'read' | 'doubtful' | 'unsupported'
  /** Why it cannot be used, or not in production; null if there is nothing to warn of. */
  caution: string | null
  /** The module's file name. */
  file: RegExp
  /** CK_TOKEN_INFO.manufacturerID; null if unknown or shared with other products. */
  manufacturer: RegExp | null
  /** What its PIN looks like. */
  pin: string
  /** The IV modes in the documentation; empty if it names none. */
  ivModes: readonly IvMode[]
  /** Hints for common failures; the first match is used. */
  hints: readonly { when: Failure; hint: string }[]
  /** Its page in the docs, relative to the package. */
  page: string
}
