import { clipped } from './clipped.ts'

/**
 * Every error code of Keyturn, with its exit code. Codes are part of the contract: they may be added, never renamed.
 *
 * 1 a fault of Keyturn's own · 2 usage or configuration · 3 refused by a guard, nothing was touched ·
 * 4 MongoDB, Temporal, the HSM or the operating system · 5 failed after promote · 6 envelopes in quarantine · 7 cancelled
 */
export const exitCodes = {
  internal: 1,

  usage: 2,
  'config-missing': 2,
  'config-invalid': 2,
  'config-unknown-key': 2,
  'variable-missing': 2,
  'env-key-invalid': 2,
  'pin-missing': 2,
  'pin-file-unsafe': 2,
  'confirmation-needed': 2,
  'versions-equal': 2,
  'version-invalid': 2,

  'install-locked': 3,
  'not-installed': 3,
  'settings-differ': 3,
  'config-differs': 3,
  'version-unknown': 3,
  'version-not-usable': 3,
  'version-exists': 3,
  'version-destroyed': 3,
  'not-ready': 3,
  'rotation-running': 3,
  'removal-pending': 3,
  'removal-refused': 3,
  'no-rotation': 3,
  'no-removal': 3,
  'no-fence': 3,
  'approval-missing': 3,
  'approval-invalid': 3,
  'request-unknown': 3,
  'material-missing': 3,
  'key-exists': 3,
  'key-attributes': 3,
  'index-missing': 3,
  'unsupported-shape': 3,
  'not-quarantined': 3,
  'node-unknown': 3,
  'node-live': 3,
  'node-decommissioned': 3,
  'not-active': 3,
  'collection-in-use': 3,
  'policy-missing': 3,
  'policy-paused': 3,
  'window-closed': 3,
  'keystore-copied': 3,
  'keystore-older': 3,
  'schema-older': 3,
  'schema-newer': 3,
  'collection-missing': 3,
  'collection-replaced': 3,
  'fence-left': 3,
  'clock-differs': 3,
  'document-malformed': 3,

  'mongodb-unreachable': 4,
  'mongodb-not-replica-set': 4,
  'mongodb-refused': 4,
  'setup-missing': 4,
  'temporal-unreachable': 4,
  'temporal-refused': 4,
  'no-worker': 4,
  'foreign-task': 4,
  'module-missing': 4,
  'token-not-found': 4,
  'token-ambiguous': 4,
  'mechanism-missing': 4,
  'token-not-usable': 4,
  'iv-mode-refused': 4,
  'pin-refused': 4,
  'pin-locked': 4,
  'key-not-found': 4,
  'key-ambiguous': 4,
  'wrong-key': 4,
  'cannot-encrypt': 4,
  'hsm-failed': 4,
  'hsm-away': 4,
  'hsm-busy': 4,
  'pool-closed': 4,
  'kek-not-loaded': 4,
  'lease-expired': 4,
  'server-missing': 4,
  'system-refused': 4,
  unhealthy: 4,

  'rotation-failed': 5,
  'removal-failed': 5,
  'audit-broken': 5,

  'envelope-unreadable': 6,
  malformed: 6,
  'format-unknown': 6,
  'wrong-provider': 6,
  'write-refused': 6,
  'id-unsupported': 6,
  'odd-many': 6,
  quarantined: 6,

  cancelled: 7,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof exitCodes

/** An error in JSON, under the member `error`. */
export interface ErrorReport {
  code: ErrorCode
  message: string
  hint?: string
}

/** Characters of a message, and of a hint: quoted values can be long, while rows and payloads are limited. */
const longest = 2_000

/**
 * The one error of this program. `message` is one line, lower case, no full stop, with the offending value quoted and
 * never a secret; `hint` says what to do about it. Branch on `code`, never on `message`.
 */
export class KeyturnError extends Error {
  override readonly name = 'KeyturnError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly exitCode: number

  /** `exitCode`: overrides the code's own. After promote, a code that would refuse a rotation means that it failed. */
  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; cause?: unknown; exitCode?: number } = {},
  ) {
    super(
      clipped(message, longest),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.code = code
    this.hint = options.hint === undefined ? undefined : clipped(options.hint, longest)
    this.exitCode = options.exitCode ?? exitCodes[code]
  }

  toJSON(): ErrorReport {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
    }
  }
}

/** Whether a string from another process's failure is one of our codes. */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(exitCodes, value)
}
