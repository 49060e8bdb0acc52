import { createHash } from 'node:crypto'
import type { Pkcs11Config } from '../../../contracts/settings.ts'

/**
 * A token locks its PIN after a few wrong ones, so this program spends one at most, whatever pools, lanes and callers it
 * has: logins on one token go one after the other, and a PIN that was refused is never sent again. Another PIN (the
 * configuration changed) is another matter.
 */
export class LoginGate {
  readonly #refused = new Map<string, Error>()
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `login` alone on its token; `isFinal` says which of its errors a repeat would only make worse. */
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

/** The one gate of this program to a module's token. */
export function loginGate({ modulePath, token }: Pkcs11Config): LoginGate {
  const name = JSON.stringify([modulePath, token])
  const known = gates.get(name) ?? new LoginGate()
  gates.set(name, known)
  return known
}
