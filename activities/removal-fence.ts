import { KeyturnError } from '../contracts/errors.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { fenceOn, lowerFence, raiseFence, type Fence } from '../store/fence.ts'
import { readVersion } from '../store/kek-versions.ts'
import { setFenced, setFenceTry } from '../store/version-removal.ts'
import type { ControlDeps } from './deps.ts'
import { pause } from './pause.ts'
import { requireSettings } from './settings.ts'

/**
 * How often a fence is tried while an open transaction of an application delays it, and the pause between tries in ms: three
 * minutes in total. MongoDB ends a transaction after one minute by default. Between tries the application can write.
 */
const tries = 60
const pauseMs = 3_000

/**
 * Raises the fence of a request on all collections; false when the request was withdrawn in the meantime, and then no fence
 * is left. Each failed try is logged and recorded on the version's row. Throws `no-fence`.
 */
export async function raiseAll(
  { store, log }: ControlDeps,
  { _id: request, version }: RemovalRequestDoc,
  signal: AbortSignal,
): Promise<boolean> {
  const { collections } = await requireSettings(store)
  const fences = collections.map((collection) => fenceOn(collection, version))
  const stands = async () => (await readVersion(store, version))?.removal?.request === request
  for (const fence of fences) {
    for (
      let tried = 1;
      (await stands()) && (await raiseFence(store, fence)) === 'busy';
      tried += 1
    ) {
      const message = `an open transaction holds up the fence on collection "${fence.collection}"`
      log.warn({ version, request, tries: tried }, message)
      await setFenceTry(store, version, request, { tries: tried, message })
      if (tried === tries) throw heldUp(fence)
      await pause(pauseMs, signal)
    }
  }
  if (await setFenced(store, version, request)) return true
  // Withdrawn in the meantime: the undo may have run before the last fence was raised.
  await lowerAll(fences, { store, log }, signal)
  return false
}

/** Lowers the fence of a version on all collections. Throws `fence-left` when one stays. */
export async function lowerFences(
  deps: ControlDeps,
  version: number,
  signal: AbortSignal,
): Promise<void> {
  const { collections } = await requireSettings(deps.store)
  await lowerAll(
    collections.map((collection) => fenceOn(collection, version)),
    deps,
    signal,
  )
}

async function lowerAll(
  fences: readonly Fence[],
  { store, log }: Pick<ControlDeps, 'store' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  for (const fence of fences) {
    for (let tried = 1; (await lowerFence(store, fence)) === 'busy'; tried += 1) {
      const { collection, version } = fence
      log.warn(
        { version, collection, tries: tried },
        'an open transaction holds up that the fence comes off',
      )
      if (tried === tries) {
        throw new KeyturnError(
          'fence-left',
          `the fence on collection "${collection}" stays: a transaction is open`,
          {
            hint: `end it, then: keyturn remove --version ${version} --undo`,
          },
        )
      }
      await pause(pauseMs, signal)
    }
  }
}

function heldUp({ collection }: Fence): KeyturnError {
  return new KeyturnError(
    'no-fence',
    `no fence can be raised on collection "${collection}": a transaction has been open for ${(tries * pauseMs) / 60_000} minutes`,
    {
      hint: 'find it (db.currentOp({"transaction": {$exists: true}})), let it end, then ask again',
    },
  )
}
