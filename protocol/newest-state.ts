/** How new a keystore's state is, as a process reads it. */
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
 * Whether the state is older than one that this process has seen: a backup was restored in place. False for a keystore
 * that was declared restored (`setup --restored` raises its epoch above all others), and for one with another id.
 */
export function isOlder(read: KeystoreAge, seen: KeystoreAge | null): boolean {
  if (seen === null) return false
  if (read.id !== null && read.id !== seen.id && seen.id !== null) return false
  const isDeclared = read.restoration !== null && read.restoration !== seen.restoration
  if (isDeclared && (read.epoch === 0 || read.epoch > seen.epoch)) return false
  return read.epoch < seen.epoch || read.entries < seen.entries
}
