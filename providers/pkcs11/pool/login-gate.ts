import { createHash } from 'node:crypto'
import type { Pkcs11Config } from '../../../contracts/settings.ts'

/**
 * A token locks its PIN after a few wrong ones, so this program sends a wrong PIN at most once, however many pools, lanes
 * and callers it has: logins on one token run one after the other, and a refused PIN is never sent again. A different PIN
 * (the configuration changed) is tried.
 */
export class LoginGate {
  readonly #refused = new Map<string, Error>()
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `login` while no other login on its token runs. After an error for which `isFinal` is true, this PIN is never tried again. */
  async pass<T>(
    pin: string,
    login: () => Promise<T>,
    isFinal: (error: unknown) => error is Error,
  ): Promise<T> {
    const name = createHash('sha256').update(pin).digest('hex')
    const turn = this.#last.then(async () => {
      const before = this.#refused.get(name)
      if (before !== undefined) throw before
      try {
        return await login()
      } catch (error) {
        if (isFinal(error)) this.#refused.set(name, error)
        throw error
      }
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }
}

const gates = new Map<string, LoginGate>()

/** This program's gate for a module's token. */
export function loginGate({ modulePath, token }: Pkcs11Config): LoginGate {
  const name = JSON.stringify([modulePath, token])
  const known = gates.get(name) ?? new LoginGate()
  gates.set(name, known)
  return known
}
