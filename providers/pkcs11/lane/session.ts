import { KeyturnError } from '../../../contracts/errors.ts'
import { call, ck, openModule, openSession, type Cryptoki, type Handle } from './driver.ts'
import {
  CKR_SESSION_COUNT,
  CKR_USER_ALREADY_LOGGED_IN,
  CKR_USER_NOT_LOGGED_IN,
} from '../wire/ckr-codes.ts'
import { CkrError } from '../wire/errors.ts'
import type { OpenReply, OpenRequest } from '../wire/messages.ts'
import { findToken, tokenFlags, type Token } from './token.ts'

/**
 * A lane's module, token and one logged-in read-write session (AWS CloudHSM refuses read-only ones). Counts crypt calls and
 * return codes. The session is replaced after each error, since an operation may be left active in it.
 */
export class LaneSession {
  readonly cryptoki: Cryptoki
  readonly token: Token
  handle: Handle
  readonly #isVendorsUser: boolean
  calls = 0
  byCode: Record<number, number> = {}

  /** Throws module-missing, token-*, pin-locked, or the module's CkrError; C_Login is called at most once. */
  constructor({ modulePath, moduleParameters, token, userType, pin }: OpenRequest) {
    this.#isVendorsUser = userType !== 'user'
    this.cryptoki = openModule(modulePath, moduleParameters)
    this.token = findToken(this.cryptoki, token)
    this.handle = openSession(this.cryptoki, this.token.slot)
    if (this.#loggedIn(this.handle)) return
    refuseLastTry(this.token)
    try {
      const user = this.#isVendorsUser ? ck.CKU_LIMITED_USER : ck.CKU_USER
      call('C_Login', () => this.cryptoki.C_Login(this.handle, user, pin))
    } catch (error) {
      if (!(error instanceof CkrError && error.ckr === CKR_USER_ALREADY_LOGGED_IN)) throw error
    }
  }

  describe(): OpenReply {
    const low = (this.token.flags & tokenFlags.USER_PIN_COUNT_LOW) !== 0
    const warning = `a wrong PIN was used on token "${this.token.name.label}" since the last login`
    const { name, maxSessions } = this.token
    return { token: name, maxSessions, warnings: low ? [warning] : [] }
  }

  /** One crypt call, counted. */
  crypt<T>(use: () => T): T {
    this.calls += 1
    return this.watch(use)
  }

  /** Counts the code that an error carries and passes it on. */
  watch<T>(use: () => T): T {
    try {
      return use()
    } catch (error) {
      if (error instanceof CkrError) this.byCode[error.ckr] = (this.byCode[error.ckr] ?? 0) + 1
      throw error
    }
  }

  /** Checks the session and its login without a crypt call; replaces a dead session. Throws like `replace`. */
  check(): void {
    try {
      this.#requireLogin()
    } catch (error) {
      if (!(error instanceof CkrError)) throw error
      this.replace()
    }
  }

  /**
   * Replaces the session. The new one is opened before the old one is closed, so that the login survives; if it did not,
   * throws CKR_USER_NOT_LOGGED_IN: the pool decides about a new login.
   */
  replace(): void {
    const old = this.handle
    try {
      this.handle = this.watch(() => openSession(this.cryptoki, this.token.slot))
      this.#close(old)
    } catch (error) {
      if (!(error instanceof CkrError && error.ckr === CKR_SESSION_COUNT)) throw error
      this.#close(old)
      this.handle = this.watch(() => openSession(this.cryptoki, this.token.slot))
    }
    this.#requireLogin()
  }

  /**
   * Looks for a key. Without a login a private key is just not found (PKCS#11 v3.1, C_Login), although it exists: then
   * throws CKR_USER_NOT_LOGGED_IN.
   */
  found<T>(find: () => T): T {
    try {
      return this.watch(find)
    } catch (error) {
      this.#requireLogin()
      throw error
    }
  }

  /** A second session beside this one; null when the token has none to spare. */
  another(): Handle | null {
    try {
      return openSession(this.cryptoki, this.token.slot)
    } catch {
      return null
    }
  }

  /** `last` also finalizes the module. The library stays loaded: SoftHSM 2.6.1 crashes when unloaded with OpenSSL 3. */
  close(last: boolean): void {
    this.#close(this.handle)
    if (last) call('C_Finalize', () => this.cryptoki.C_Finalize())
  }

  closeOther(session: Handle): void {
    this.#close(session)
  }

  #requireLogin(): void {
    if (!this.#loggedIn(this.handle)) throw new CkrError('C_GetSessionInfo', CKR_USER_NOT_LOGGED_IN)
  }

  #close(session: Handle): void {
    try {
      this.cryptoki.C_CloseSession(session)
    } catch {
      // Already closed.
    }
  }

  #loggedIn(session: Handle): boolean {
    const info = this.watch(() =>
      call('C_GetSessionInfo', () => this.cryptoki.C_GetSessionInfo(session)),
    )
    // The standard defines no session state for a vendor's user type.
    if (!this.#isVendorsUser) return info.state === ck.CKS_RW_USER_FUNCTIONS
    return info.state !== ck.CKS_RO_PUBLIC_SESSION && info.state !== ck.CKS_RW_PUBLIC_SESSION
  }
}

/** Never logs in with the token's last try: a wrong PIN would lock it for everyone. */
function refuseLastTry(token: Token): void {
  const { USER_PIN_LOCKED, USER_PIN_FINAL_TRY } = tokenFlags
  if ((token.flags & (USER_PIN_LOCKED | USER_PIN_FINAL_TRY)) === 0) return
  const locked = (token.flags & USER_PIN_LOCKED) !== 0
  throw new KeyturnError(
    'pin-locked',
    locked
      ? `the user PIN of token "${token.name.label}" is locked`
      : `the user PIN of token "${token.name.label}" has one try left, which keyturn does not use`,
    {
      hint: locked
        ? "the token's security officer must set a new PIN"
        : "log in once with the right PIN with the HSM vendor's tool, then start again",
    },
  )
}
