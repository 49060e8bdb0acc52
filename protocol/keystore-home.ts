/** Where a keystore is: the UUID of its collection, and the hosts of its replica set. Null: it could not be read. */
export interface Home {
  collection: string | null
  hosts: string[] | null
}

export interface HomeVerdict {
  /** This is not where the keystore was recorded: it is a copy, or it was restored or moved. */
  copied: boolean
  /** What to record in place of the old one; null where nothing is news. */
  news: Home | null
}

/**
 * Whether a keystore is where it was recorded. Copied means that the UUID differs, or that no recorded host is among
 * today's: hosts are replaced one by one, and each look records those of its time. What is unknown is no difference, and
 * what was unknown when it was recorded is filled in by the first who can read it.
 */
export function judgeHome(recorded: Home, today: Home): HomeVerdict {
  const collection = recorded.collection ?? today.collection
  const before = [...(recorded.hosts ?? [])].sort()
  const now = [...(today.hosts ?? [])].sort()
  const isOther = today.collection !== null && collection !== today.collection
  const isApart = before.length > 0 && now.length > 0 && !now.some((host) => before.includes(host))
  if (isOther || isApart) return { copied: true, news: null }
  const isMoved = now.length > 0 && now.join() !== before.join()
  const isNews = isMoved || collection !== recorded.collection
  const hosts = isMoved ? now : recorded.hosts
  return { copied: false, news: isNews ? { collection, hosts } : null }
}
