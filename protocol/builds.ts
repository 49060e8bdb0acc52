/**
 * Builds of the workflows, and the workers that serve them. A run is pinned to the build that started it, so that build needs
 * a live worker. Temporal lists a poller for five minutes after it is gone; a heartbeat shows it sooner.
 */

/** A poller of the control queue, as Temporal lists it. */
export interface ListedPoller {
  readonly identity?: string | null
  readonly lastAccessTime?: { readonly seconds?: unknown } | null
  readonly deploymentOptions?: { readonly buildId?: string | null } | null
}

/** A process that has a heartbeat now. */
export interface LiveProcess {
  readonly node: string
  readonly pid: number
}

/** A live worker of the control queue. `build`: null when the poller does not report one. */
export interface ControlWorker extends LiveProcess {
  readonly build: string | null
}

/** In milliseconds. A poll lasts one minute; a poller that is half a minute older than that is gone. */
const polledWithinMs = 90_000

/**
 * The live pollers of the control queue. A worker with keys must have a heartbeat. A worker without keys counts by its last
 * poll, and so do all when heartbeats are unusable (`live` null), because MongoDB confirms none.
 */
export function controlWorkers(
  pollers: readonly ListedPoller[],
  live: readonly LiveProcess[] | null,
  nowMs: number,
): ControlWorker[] {
  const newest = new Map<string, { worker: ControlWorker; seenMs: number }>()
  for (const poller of pollers) {
    const named = parseIdentity(poller.identity ?? '')
    const seenMs = 1_000 * Number(poller.lastAccessTime?.seconds ?? 0)
    if (named === null || nowMs - seenMs > polledWithinMs) continue
    const { node, pid } = named
    const beats =
      live === null || live.some((process) => process.node === node && process.pid === pid)
    if (named.holdsKeys && !beats) continue
    // A recreated container has the same name and pid: the build that polled last is the running one.
    const before = newest.get(`${node}/${pid}`)
    if (before !== undefined && before.seenMs >= seenMs) continue
    const build = poller.deploymentOptions?.buildId
    const worker = { node, pid, build: build === undefined || build === '' ? null : build }
    newest.set(`${node}/${pid}`, { worker, seenMs })
  }
  return [...newest.values()].map(({ worker }) => worker)
}

/**
 * Whether a worker of build `own` makes that build the current one, for new runs and those that upgrade: when there is no
 * current build, or no live worker serves it. False until `own` itself is listed: Temporal does not know it before.
 */
export function takesOver(
  own: string,
  current: string | null,
  workers: readonly ControlWorker[],
): boolean {
  const isServed = (build: string) => workers.some((worker) => worker.build === build)
  if (current === own || !isServed(own)) return false
  return current === null || !isServed(current)
}

/** See `workerIdentity` in contracts/names.ts. Null for a poller that is not a Keyturn worker. */
function parseIdentity(identity: string): (LiveProcess & { holdsKeys: boolean }) | null {
  const [, node, pid, keyless] = /^keyturn\/(.+)\/(\d+)(\/keyless)?$/.exec(identity) ?? []
  if (node === undefined || pid === undefined) return null
  return { node, pid: Number(pid), holdsKeys: keyless === undefined }
}
