import { KeyturnError } from '../../contracts/errors.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { requireMajority } from '../../store/majority.ts'
import { serverNow, type Store } from '../../store/store.ts'

/** How often a command that waits for a worker looks whether there is one, in milliseconds. */
const lookEveryMs = 2000

/** How many workers have a heartbeat that has not expired, by the database's clock. */
export async function liveWorkers(store: Store): Promise<number> {
  const [heartbeats, now] = await Promise.all([readHeartbeats(store), serverNow(store)])
  return heartbeats.filter(({ role, expires_at, malformed }) => {
    return malformed === undefined && role === 'worker' && expires_at > now
  }).length
}

/**
 * Throws no-worker at once when nobody could do the work: a workflow would only wait. Heartbeats that MongoDB does not
 * confirm look like workers that are gone: then it is mongodb-unreachable.
 */
export async function requireWorker(store: Store): Promise<void> {
  if ((await liveWorkers(store)) > 0) return
  await requireMajority(store)
  throw new KeyturnError('no-worker', 'no worker is alive that could do this', {
    hint: 'start one: keyturn worker; keyturn nodes shows the fleet',
  })
}

/** Waits for work that workers do, and gives up with no-worker when the last of them falls silent. */
export async function whileWorkersLive<T>(store: Store, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    const look = () => requireWorker(store).catch(reject)
    timer = setInterval(() => void look(), lookEveryMs)
  })
  try {
    return await Promise.race([work, silence])
  } finally {
    clearInterval(timer)
    // The loser of the race may still fail after the connection is closed; nobody waits for it any more.
    work.catch(() => undefined)
  }
}
