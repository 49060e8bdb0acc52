import type { KekProvider } from '../../../providers/provider.ts'
import { readRanges } from '../../../store/rewrap-ranges.ts'
import { rewrapPages } from '../../../sweep/rewrap-pages.ts'
import type { SweepOptions } from '../../../sweep/sweep-options.ts'
import { install, type World } from './world.ts'
import { silentLog } from '../../../observability/log.ts'
import type { RunningRotation } from './rotation.ts'

/** A worker that is frozen with a page in flight: read and wrapped, not yet written. */
export interface FrozenSweep {
  /** Unfreezes it, and resolves when it has ended. */
  thaw(): Promise<string>
}

/** Small, so that a range has several pages. */
const page = 2

/** Sweeps one page of the first open range of this pass; null when no range is open. */
export async function sweepPage(world: World, rotation: RunningRotation): Promise<string | null> {
  const range = await openRange(world, rotation)
  if (range === null) return null
  return (await rewrapPages(optionsFor(world, rotation, range, world.provider))).end
}

/** Begins a page and leaves it unwritten. False when there is no page. */
export async function freezeSweep(world: World, rotation: RunningRotation): Promise<boolean> {
  const range = await openRange(world, rotation)
  if (range === null) return false
  const reached = gate<boolean>()
  const frozen = gate<null>()
  const rewrap: KekProvider['rewrap'] = async (batch, signal) => {
    const answer = await world.provider.rewrap(batch, signal)
    reached.open(true)
    await frozen.promise
    return answer
  }
  const provider = new Proxy(world.provider, {
    get(target, name) {
      if (name === 'rewrap') return rewrap
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  const end = rewrapPages(optionsFor(world, rotation, range, provider)).then(
    (result) => result.end,
    (error: unknown) => `failed: ${String(error)}`,
  )
  void end.then(() => reached.open(false))
  if (!(await reached.promise)) return false
  world.frozen.push({
    async thaw() {
      frozen.open(null)
      return await end
    },
  })
  return true
}

async function openRange({ store }: World, { input }: RunningRotation): Promise<string | null> {
  const ranges = await readRanges(store, input.rotation)
  return ranges.find(({ closed }) => !closed)?._id.shard ?? null
}

function optionsFor(
  { store }: World,
  { input, tail }: RunningRotation,
  range: string,
  provider: KekProvider,
): SweepOptions {
  const { rotation, from, to } = input
  const lease = {
    requireLease: () => Promise.resolve(),
    assertLease: () => undefined,
    countWraps: () => undefined,
  }
  return {
    store,
    provider,
    lease,
    install,
    rotation,
    range,
    from,
    to,
    page,
    check: 'all',
    ratePerSecond: 0,
    maxHsmCalls: 0,
    signal: new AbortController().signal,
    // The deadline has passed, and the first page is swept anyway: so it is exactly one page.
    deadline: -Infinity,
    tail: tail > 0,
    onPage: () => undefined,
    log: silentLog,
  }
}

/** A promise and the function that resolves it. */
function gate<T>(): { promise: Promise<T>; open: (value: T) => void } {
  let open: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => (open = resolve))
  return { promise, open }
}
