import { KeyturnError } from '../contracts/errors.ts'
import { isOlder, type KeystoreAge } from '../protocol/newest-state.ts'
import type { BeatReading } from '../store/beat-reading.ts'

/**
 * The newest state of the keystore that this process has followed. An older state, as after a restore, is not followed: the
 * process may have wrapped under a version that the older state does not know.
 */
export class NewestState {
  #seen: KeystoreAge | null = null
  #older: KeyturnError | null = null

  /** Set while the keystore is older than the newest state. */
  get older(): KeyturnError | null {
    return this.#older
  }

  /** Compares a reading. Returns whether the keystore has just become older. */
  compare({ install, active, entries }: BeatReading): boolean {
    const read: KeystoreAge = {
      id: install?.id ?? null,
      restoration: install?.restoration ?? null,
      epoch: active?.epoch ?? 0,
      entries,
    }
    const before = this.#older
    this.#older = isOlder(read, this.#seen) ? keystoreOlder(read, this.#seen) : null
    if (this.#older === null) this.#seen = read
    return this.#older !== null && before === null
  }
}

function keystoreOlder(read: KeystoreAge, seen: KeystoreAge | null): KeyturnError {
  const was = seen === null ? '' : `, it had ${seen.epoch} and ${seen.entries}`
  return new KeyturnError(
    'keystore-older',
    `the keystore has epoch ${read.epoch} and ${read.entries} audit entries${was}`,
    { hint: 'if an older state was restored, run: keyturn setup --restored' },
  )
}
