import { KeyturnError } from '../../contracts/errors.ts'
import { readHeartbeats } from '../../store/process-heartbeats.ts'
import { requireMajority } from '../../store/majority.ts'
import { serverNow, type Store } from '../../store/store.ts'
import { Outage } from '../outage.ts'

/** How often a waiting command checks that a worker is alive, in milliseconds. */
const lookEveryMs = 2000

/** How many workers have a heartbeat that has not expired, by the database's clock. */
export async function liveWorkers(store: Store): Promise<number> {
  const [heartbeats, now] = await Promise.all([readHeartbeats(store), serverNow(store)])
  return heartbeats.filter(({ role, expires_at, malformed }) => {
    return malformed === undefined && role === 'worker' && expires_at > now
  }).length
}

/**
 * Throws no-worker when no worker is alive: a workflow would only wait. Unconfirmed heartbeats look like dead workers: if
 * MongoDB confirms no writes, it throws mongodb-unreachable instead.
 */
export async function requireWorker(store: Store): Promise<void> {
  if ((await liveWorkers(store)) > 0) return
  await requireMajority(store)
  throw new KeyturnError('no-worker', 'no worker is alive that could do this', {
    hint: 'start one: keyturn worker; keyturn nodes shows the fleet',
  })
}

/**
 * Waits for work that workers do. Throws no-worker when the last worker stops sending heartbeats, and mongodb-unreachable
 * after a minute without MongoDB.
 */
export async function whileWorkersLive<T>(store: Store, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    const outage = new Outage()
    let isLooking = false
    const look = () => outage.outlast(() => requireWorker(store))
    timer = setInterval(() => {
      if (isLooking) return
      isLooking = true
      void look()
        .catch(reject)
        .finally(() => (isLooking = false))
    }, lookEveryMs)
  })
  try {
    return await Promise.race([work, silence])
  } finally {
    clearInterval(timer)
    // `work` may still reject after the connection is closed; that is ignored.
    work.catch(() => undefined)
  }
}
