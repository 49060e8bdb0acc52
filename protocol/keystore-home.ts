/** Where a keystore is: the UUID of its collection, and the hosts of its replica set. Null: could not be read. */
export interface Home {
  collection: string | null
  hosts: string[] | null
}

export interface HomeComparison {
  /** The keystore is not where it was recorded: it is a copy, or was restored or moved. */
  copied: boolean
  /** The home to record instead of the old one; null if nothing changed. */
  update: Home | null
}

/**
 * Whether a keystore is where it was recorded. `copied`: the UUID differs, or none of the recorded hosts is among the
 * current ones (hosts are replaced one by one, and each check records the current list). An unknown value is not a
 * difference; it is filled in by the first process that can read it.
 */
export function compareHome(recorded: Home, today: Home): HomeComparison {
  const collection = recorded.collection ?? today.collection
  const before = [...(recorded.hosts ?? [])].sort()
  const now = [...(today.hosts ?? [])].sort()
  const isOther = today.collection !== null && collection !== today.collection
  const isApart = before.length > 0 && now.length > 0 && !now.some((host) => before.includes(host))
  if (isOther || isApart) return { copied: true, update: null }
  const isMoved = now.length > 0 && now.join() !== before.join()
  const isChanged = isMoved || collection !== recorded.collection
  const hosts = isMoved ? now : recorded.hosts
  return { copied: false, update: isChanged ? { collection, hosts } : null }
}
