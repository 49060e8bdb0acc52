import { ScheduleOverlapPolicy, type ScheduleHandle } from '@temporalio/client'
import { KeyturnError } from '../../contracts/errors.ts'
import type { Config } from '../../contracts/settings.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { windowState } from '../../protocol/policy-times.ts'
import {
  askForRun,
  deletePolicyRow,
  pausePolicy,
  readPolicy,
  resumePolicy,
  rulesOf,
} from '../../store/kek-policy.ts'
import { serverNow, type Store } from '../../store/store.ts'
import { requireSetUp, withOwnKeystore, type Keystore } from '../keystore.ts'
import { withTemporal } from '../temporal/connection.ts'
import { requester } from '../temporal/names.ts'
import { handleOf, orNull } from './schedule.ts'
import { noPolicy, showWith } from './show.ts'

/** Suspends the policy: no run begins. A rotation that runs goes on. */
export async function suspendPolicy(config: Config): Promise<PolicyView> {
  return withPolicy(config, async ({ store }, handle) => {
    const reason = `paused by ${requester()}`
    await pausePolicy(store, { by: requester(), reason })
    await orNull(() => handle.pause(reason))
  })
}

/** Also after a failed run. */
export async function continuePolicy(config: Config): Promise<PolicyView> {
  return withPolicy(config, async ({ store }, handle) => {
    await resumePolicy(store, requester())
    await requireSchedule(() => handle.unpause(`resumed by ${requester()}`))
  })
}

/**
 * Begins a run now. Throws window-closed outside the window, unless `now` is set; policy-paused; rotation-running while a run
 * of the policy has not ended.
 */
export async function runPolicy(config: Config, { now }: { now: boolean }): Promise<PolicyView> {
  return withPolicy(config, async ({ store }, handle) => {
    if (!now) await requireWindow(store)
    const isAsked = await askForRun(store, { by: requester(), now })
    // Also while a run has not ended: Temporal skips the look if its workflow runs; else the look ends the run.
    await requireSchedule(() => handle.trigger(ScheduleOverlapPolicy.SKIP))
    if (!isAsked) throw await notBegun(store)
  })
}

/** A rotation that runs goes on. Throws policy-missing if there was neither a policy nor a Schedule. */
export async function deletePolicy(config: Config): Promise<void> {
  await withOwnKeystore(config, async (keystore) => {
    const install = requireSetUp(keystore, config)
    await withTemporal(config, async (link) => {
      const had = await deletePolicyRow(keystore.store, requester())
      const deleted = await orNull(async () => {
        await handleOf(link, install).delete()
        return true
      })
      if (!had && deleted === null) throw noPolicy()
    })
  })
}

async function withPolicy(
  config: Config,
  change: (keystore: Keystore, handle: ScheduleHandle) => Promise<void>,
): Promise<PolicyView> {
  return withOwnKeystore(config, async (keystore) => {
    const install = requireSetUp(keystore, config)
    return withTemporal(config, async (link) => {
      if ((await readPolicy(keystore.store)) === null) throw noPolicy()
      await change(keystore, handleOf(link, install))
      return await showWith(link, keystore, install)
    })
  })
}

async function requireSchedule(act: () => Promise<void>): Promise<void> {
  const done = await orNull(async () => {
    await act()
    return true
  })
  if (done !== null) return
  throw new KeyturnError('policy-missing', 'the schedule of the policy is gone from temporal', {
    hint: 'set it again: keyturn policy set, with the options that keyturn policy show names',
  })
}

async function requireWindow(store: Store): Promise<void> {
  const row = await readPolicy(store)
  if (row === null) return
  const { window, timeZone } = rulesOf(row)
  if (window === null) return
  const state = windowState(window, timeZone, await serverNow(store))
  if (state.isOpen) return
  throw new KeyturnError(
    'window-closed',
    `the policy's window is closed until ${state.until.toISOString()}`,
    { hint: 'keyturn policy run --now begins outside it' },
  )
}

async function notBegun(store: Store): Promise<KeyturnError> {
  const row = await readPolicy(store)
  if (row === null) return noPolicy()
  if (row.paused !== null) {
    return new KeyturnError('policy-paused', `the policy is paused: ${row.paused.reason}`, {
      hint: 'keyturn policy resume, then repeat this command',
    })
  }
  return new KeyturnError('rotation-running', 'a run of the policy has not ended', {
    hint: 'keyturn policy show tells what it does; if its workflow is gone, it is ended now',
  })
}
