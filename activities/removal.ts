import { KeyturnError } from '../contracts/errors.ts'
import type { VersionState } from '../contracts/kek.ts'
import type { RemoveInput } from '../contracts/removal.ts'
import type { Guard } from '../contracts/views.ts'
import { versionState } from '../protocol/version-state.ts'
import type { VersionDoc } from '../store/documents.ts'
import { fenceOn, lowerFence, raiseFence } from '../store/fence.ts'
import { appendAudit } from '../store/kek-audit.ts'
import { readActive } from '../store/kek-active.ts'
import {
  destroyVersion,
  raiseGuardRun,
  requestRemoval,
  setFenced,
  undoRemoval,
} from '../store/kek-versions.ts'
import type { ControlDeps } from './deps.ts'
import { heartbeating } from './heartbeating.ts'
import { evaluateGuards } from './removal-guards.ts'
import type { GuardInput } from './removal-guards.ts'
import { requireInstalled, requireSettings } from './settings.ts'

/** The steps of `removeKek`; every decisive write is filtered by the request id. */
export function removalActivities(deps: ControlDeps) {
  const { store } = deps
  return {
    /** All guards, all evaluated. */
    checkGuards: async (input: GuardInput): Promise<Guard[]> =>
      await heartbeating(async () => await evaluateGuards(deps, input)),

    requestRemoval: async (input: RemoveInput): Promise<{ dueAt: string }> =>
      await heartbeating(async () => await request(deps, input)),

    /** Null: the request was undone. */
    beginGuardRun: async ({ version, request }: RemoveInput): Promise<number | null> =>
      await raiseGuardRun(store, version, request),

    undoRemoval: async (input: RemoveInput & { reason: string }): Promise<void> => {
      const { reason } = input
      if (await undo(deps, input)) await audit(deps, input, 'removal-undone', { reason })
    },

    destroyVersion: async (input: RemoveInput & { guardRun: number }): Promise<void> => {
      const { version, request, guardRun } = input
      const isDone = await destroyVersion(store, version, request, guardRun)
      // A repeated attempt finds its own work done.
      if (!isDone && (await requireInstalled(store, version)).destroyed_at === null) {
        throw raced(input)
      }
      if (isDone) await audit(deps, input, 'version-destroyed', {})
    },

    readRemoval: async ({
      version,
    }: RemoveInput): Promise<{ version: number; state: VersionState }> => {
      const row = await requireInstalled(store, version)
      const active = await readActive(store)
      return { version, state: versionState(row, active?.version ?? null) }
    },
  }
}

/** Request, then fence: refused without `collMod`, and then the request is taken back. */
async function request(deps: ControlDeps, input: RemoveInput): Promise<{ dueAt: string }> {
  const { store } = deps
  requireOwnKey(input, await requireInstalled(store, input.version))
  if (!(await requestRemoval(store, input.version, input))) throw raced(input)
  try {
    if (!input.withoutFence) await raise(deps, input)
  } catch (error) {
    await undo(deps, input)
    throw error
  }
  await audit(deps, input, 'removal-requested', {})
  const { removal } = await requireInstalled(store, input.version)
  if (removal === null) throw raced(input)
  return { dueAt: removal.due_at.toISOString() }
}

async function raise({ store }: ControlDeps, input: RemoveInput): Promise<void> {
  const { collections } = await requireSettings(store)
  const names = collections.map(({ name }) => name)
  for (const collection of collections) {
    await raiseFence(store, fenceOn(collection, input.version))
  }
  if (!(await setFenced(store, input.version, input.request, names))) throw raced(input)
}

/** The request first: after it nobody destroys the version, so the fence may come off. */
async function undo({ store }: ControlDeps, input: RemoveInput): Promise<boolean> {
  const undone = await undoRemoval(store, input.version, input.request)
  const row = await requireInstalled(store, input.version)
  if (row.removal !== null || row.destroyed_at !== null) return undone
  const { collections } = await requireSettings(store)
  for (const collection of collections) {
    await lowerFence(store, fenceOn(collection, input.version))
  }
  return undone
}

function requireOwnKey({ destroyHsmKey }: RemoveInput, row: VersionDoc): void {
  if (!destroyHsmKey || row.origin === 'generated') return
  const id = row.key_id === null ? 'none' : Buffer.from(row.key_id.buffer).toString('hex')
  throw new KeyturnError(
    'removal-refused',
    `the key "${row.label}" (id ${id}) was not made by keyturn, so keyturn does not destroy it`,
    { hint: 'leave --destroy-hsm-key out, and let its administrator destroy it afterwards' },
  )
}

function raced({ version }: RemoveInput): KeyturnError {
  return new KeyturnError('removal-refused', `version ${version} changed while it was asked for`, {
    hint: 'a rotation or another removal was faster: keyturn status shows which',
  })
}

async function audit(
  { store }: ControlDeps,
  input: RemoveInput,
  action: string,
  details: object,
): Promise<void> {
  await appendAudit(store, {
    actor: input.requestedBy,
    action,
    subject: `v${input.version}`,
    details: { request: input.request, ...details },
  })
}
