import { KeyturnError } from '../contracts/errors.ts'
import type { RemovalStep, RemoveInput } from '../contracts/removal.ts'
import { ownKeyRefusal } from '../protocol/own-key.ts'
import { clocksDiffer } from '../protocol/backup-window.ts'
import { refusalOf } from '../protocol/removal-guards.ts'
import { removalWindowMs } from '../protocol/removal-phase.ts'
import type { RemovalRequestDoc } from '../store/documents.ts'
import { destroyVersion, raiseGuardRun, requestRemoval } from '../store/version-removal.ts'
import { withdrawRemoval } from '../store/removal-requests.ts'
import { serverNow } from '../store/store.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { approvalRecheck, approvalUse } from './removal-approval.ts'
import { lowerFences, raiseAll } from './removal-fence.ts'
import { evaluateGuards } from './removal-guards.ts'
import { requireRequest, stepOf } from './removal-requests.ts'
import { requireIdentity, requireInstalled, requireSettings } from './settings.ts'

/**
 * The steps of `removeKek`. Anyone with access to the Temporal namespace can call them, in any order and with any input. So
 * each takes only ids, reads the request from its row, decides from MongoDB, and returns the request's new state. A step
 * that is not due changes nothing.
 */
export function removalActivities(deps: ControlDeps, ownNow: () => Date = () => new Date()) {
  const removal = new Removal(deps, ownNow)
  const under = (run: (input: RemoveInput, signal: AbortSignal) => Promise<RemovalStep>) => {
    return async (input: RemoveInput) =>
      await heartbeating(async (signal) => await run(input, signal))
  }
  return {
    readRemoval: async (input: RemoveInput): Promise<RemovalStep> =>
      await stepOf(deps, input, ownNow),
    /** Evaluates all guards; if they pass, the version becomes `pending-removal`. */
    requestRemoval: under((input) => removal.request(input)),
    fenceRemoval: under((input, signal) => removal.fence(input, signal)),
    /** Evaluates all guards again after the fence and the window; if they pass, the version is destroyed. */
    destroyVersion: under((input, signal) => removal.destroy(input, signal)),
    undoRemoval: under((input, signal) => removal.undo(input, signal)),
  }
}

class Removal {
  readonly #deps: ControlDeps
  readonly #ownNow: () => Date

  constructor(deps: ControlDeps, ownNow: () => Date) {
    this.#deps = deps
    this.#ownNow = ownNow
  }

  async request(input: RemoveInput): Promise<RemovalStep> {
    const { store, node } = this.#deps
    const request = await requireRequest(this.#deps, input)
    const before = await this.#stepOf(input)
    if (before.phase !== 'asked' || before.waitMs > 0) return before
    const row = await requireInstalled(store, request.version)
    const foreign = request.destroy_hsm_key
      ? ownKeyRefusal(row, await requireIdentity(store))
      : null
    if (foreign !== null) return await this.#refuse(input, request, [], foreign.toJSON())
    const look = { fenced: false, ownNow: this.#ownNow }
    const guards = await evaluateGuards(this.#deps, request, look)
    const refusal = refusalOf(request.version, guards)
    if (refusal !== null) return await this.#refuse(input, request, guards, refusal)
    const windowMs = removalWindowMs(await requireSettings(store))
    const approve = await approvalUse(this.#deps, request)
    try {
      if (!(await requestRemoval(store, request._id, windowMs, node, approve))) throw raced(request)
    } catch (error) {
      if (!isRefusal(error)) throw error
      return await this.#refuse(input, request, guards, error.toJSON())
    }
    return await this.#stepOf(input, { guards })
  }

  async fence(input: RemoveInput, signal: AbortSignal): Promise<RemovalStep> {
    const request = await requireRequest(this.#deps, input)
    const before = await this.#stepOf(input)
    if (before.phase !== 'fencing') return before
    try {
      await raiseAll(this.#deps, request, signal)
    } catch (error) {
      if (!(error instanceof KeyturnError)) throw error
      return await this.#refuse(input, request, [], error.toJSON(), signal)
    }
    return await this.#stepOf(input)
  }

  async destroy(input: RemoveInput, signal: AbortSignal): Promise<RemovalStep> {
    const { store, node } = this.#deps
    const request = await requireRequest(this.#deps, input)
    const before = await this.#stepOf(input)
    if (before.phase !== 'pending' || (before.waitMs > 0 && !(await this.#clocksDiffer()))) {
      return before
    }
    const guardRun = await raiseGuardRun(store, request.version, request._id)
    if (guardRun === null) return await this.#stepOf(input)
    const look = { fenced: true, ownNow: this.#ownNow }
    const guards = await evaluateGuards(this.#deps, request, look)
    const refusal = refusalOf(request.version, guards)
    if (refusal !== null) return await this.#refuse(input, request, guards, refusal, signal)
    const approved = await approvalRecheck(this.#deps, request)
    try {
      await destroyVersion(store, request.version, request._id, guardRun, node, approved)
    } catch (error) {
      if (!isRefusal(error)) throw error
      return await this.#refuse(input, request, guards, error.toJSON(), signal)
    }
    // If nothing was destroyed, another attempt runs the guards, or the request was withdrawn: its state says what to do.
    return await this.#stepOf(input, { guards })
  }

  async undo(input: RemoveInput, signal: AbortSignal): Promise<RemovalStep> {
    const { store, node } = this.#deps
    const request = await requireRequest(this.#deps, input)
    await withdrawRemoval(store, request._id, 'withdrawn', { reason: 'undone', worker: node })
    const row = await requireInstalled(store, request.version)
    if (row.removal === null) await lowerFences(this.#deps, request.version, signal)
    return await this.#stepOf(input)
  }

  /** Ends the request, restores the version, and lowers its fence. */
  async #refuse(
    input: RemoveInput,
    request: RemovalRequestDoc,
    guards: RemovalStep['guards'],
    error: NonNullable<RemovalStep['error']>,
    signal?: AbortSignal,
  ): Promise<RemovalStep> {
    const { store, node } = this.#deps
    const wasRequested = (await requireInstalled(store, request.version)).removal !== null
    const failing = guards.filter(({ ok }) => !ok).map(({ guard }) => guard)
    const reason = failing.length === 0 ? error.message : `guard ${failing.join(', ')}`
    await withdrawRemoval(store, request._id, 'refused', { reason, worker: node })
    const row = await requireInstalled(store, request.version)
    if (wasRequested && row.removal === null && signal !== undefined) {
      await lowerFences(this.#deps, request.version, signal)
    }
    return await this.#stepOf(input, { guards, error })
  }

  async #clocksDiffer(): Promise<boolean> {
    const now = await serverNow(this.#deps.store)
    return clocksDiffer(now.toISOString(), this.#ownNow().toISOString())
  }

  #stepOf(input: RemoveInput, more: Parameters<typeof stepOf>[3] = {}): Promise<RemovalStep> {
    return stepOf(this.#deps, input, this.#ownNow, more)
  }
}

/** Whether the step's transaction refused what the guards allowed: another removal is open, or approvals no longer count. */
function isRefusal(error: unknown): error is KeyturnError {
  return (
    error instanceof KeyturnError && ['removal-refused', 'approval-missing'].includes(error.code)
  )
}

function raced({ version }: RemovalRequestDoc): KeyturnError {
  return new KeyturnError('removal-refused', `version ${version} changed during its request`, {
    hint: 'a rotation or another removal was faster: keyturn status shows which',
  })
}
