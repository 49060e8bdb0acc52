/**
 * Builds of the workflows, and who serves them. A run is pinned to the build that began it, so a build that a run needs must
 * have a worker that lives. Temporal lists a poller for five minutes after it is gone; a heartbeat tells sooner.
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

/** A worker of the control queue that lives. `build`: null when it does not say. */
export interface ControlWorker extends LiveProcess {
  readonly build: string | null
}

/** A poll lasts for a minute, in milliseconds: who polled before that, and half a minute more, is gone. */
const polledWithinMs = 90_000

/**
 * Who polls the control queue and lives: with a heartbeat where the worker holds keys, by its last poll where it does not, or
 * where no heartbeat is of use (`live` null), since MongoDB confirms none.
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
    // A container that is made anew has the same name and pid: the build that polled last is the one that runs.
    const before = newest.get(`${node}/${pid}`)
    if (before !== undefined && before.seenMs >= seenMs) continue
    const build = poller.deploymentOptions?.buildId
    const worker = { node, pid, build: build === undefined || build === '' ? null : build }
    newest.set(`${node}/${pid}`, { worker, seenMs })
  }
  return [...newest.values()].map(({ worker }) => worker)
}

/**
 * Whether a worker of build `own` makes it the current one, which new runs and those that upgrade go to: when there is none,
 * or nobody serves it any more. Before `own` is listed itself it waits: Temporal does not know the build yet.
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

/** See `workerIdentity` in contracts/names.ts. Null for a poller that is none of ours. */
function parseIdentity(identity: string): (LiveProcess & { holdsKeys: boolean }) | null {
  const [, node, pid, keyless] = /^keyturn\/(.+)\/(\d+)(\/keyless)?$/.exec(identity) ?? []
  if (node === undefined || pid === undefined) return null
  return { node, pid: Number(pid), holdsKeys: keyless === undefined }
}
