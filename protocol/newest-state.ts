/** What a process reads of the keystore's age. */
export interface KeystoreAge {
  /** The keystore's id; null before `setup`. */
  id: string | null
  /** Names the last `setup --restored`; null before any. */
  restoration: string | null
  /** Of kek_active, which only grows; 0 before anything was active. */
  epoch: number
  /** Number of the last entry of the audit's chain, which only grows. */
  entries: number
}

/**
 * Whether what was read is an older state than this process has seen: a restore in place. A keystore that was declared
 * restored, or that is another one by its id, is followed again: `setup --restored` puts its epoch above all others.
 */
export function isOlder(read: KeystoreAge, seen: KeystoreAge | null): boolean {
  if (seen === null) return false
  if (read.id !== null && read.id !== seen.id && seen.id !== null) return false
  const isDeclared = read.restoration !== null && read.restoration !== seen.restoration
  if (isDeclared && (read.epoch === 0 || read.epoch > seen.epoch)) return false
  return read.epoch < seen.epoch || read.entries < seen.entries
}
