import type { ErrorCode } from '../../../contracts/errors.ts'
import type { IvMode } from '../../../contracts/kek.ts'

/** What went wrong, as far as advice depends on it; a member that is absent stands for any. */
export interface Trouble {
  /** Function of the module, such as `C_Login`. */
  method?: string
  ckr?: number
  code?: ErrorCode
}

/**
 * What is known of a module before it is asked anything: data, never a branch in the code. What the module does is found
 * out by the probe; this only says how to read the answer. Facts that were not run here name their source in a comment.
 *
 * `support`: `run` the tests run with it; `read` built to its documents, never met; `doubtful` AES-GCM is unlikely;
 * `unsupported` it has no AES-GCM.
 */
export interface Vendor {
  name: string
  support: 'run' | 'read' | 'doubtful' | 'unsupported'
  /** Why not, or why not in production; null where there is nothing to warn of. */
  caution: string | null
  /** The module's file name. */
  file: RegExp
  /** CK_TOKEN_INFO.manufacturerID; null where it is not known, or shared with other products. */
  manufacturer: RegExp | null
  /** What its PIN looks like. */
  pin: string
  /** Who chooses the IV, by the documents; empty where they do not say. */
  ivModes: readonly IvMode[]
  /** Advice for what typically goes wrong; the first that fits counts. */
  hints: readonly { when: Trouble; say: string }[]
  /** The page about it, relative to the package. */
  page: string
}
