import { randomUUID } from 'node:crypto'
import { MockActivityEnvironment } from '@temporalio/testing'
import type { Document } from 'mongodb'
import { createControlActivities, type ControlActivities } from '../../../activities/index.ts'
import type { InstallIdentity } from '../../../contracts/names.ts'
import type { ActivityDeps, ControlDeps } from '../../../activities/deps.ts'
import { settingsHash } from '../../../store/settings-hash.ts'
import { collections as names, workflowIds } from '../../../contracts/names.ts'
import type { FleetSettings } from '../../../contracts/settings.ts'
import { silentLog } from '../../../observability/log.ts'
import { openEnvProvider } from '../../../providers/env/env-provider.ts'
import type { KekProvider } from '../../../providers/provider.ts'
import { insertFirstActive, readActive } from '../../../store/kek-active.ts'
import { insertTask } from '../../../store/kek-tasks.ts'
import { claimProvider, identityOf, insertInstall } from '../../../store/kek-install.ts'
import { writeSettings } from '../../../store/kek-settings.ts'
import {
  completeInstall,
  insertIntent,
  kekDescriptor,
  readVersions,
} from '../../../store/kek-versions.ts'
import type { Store } from '../../../store/store.ts'
import { Application } from './application.ts'
import type { RunningRemoval } from './removal.ts'
import type { RunningRotation } from './rotation.ts'
import type { FrozenSweep } from './frozen-sweep.ts'
import { quietLogger } from '../../support/quiet-runtime.ts'

export const install = 'model'
export const place = { collection: 'records', field: 'secret' } as const
export const recordIds = ['r0', 'r1', 'r2', 'r3', 'r4'] as const
export const versions = [1, 2, 3] as const

/** Much longer than a run really takes: in the model time passes only by `letPass`. */
export const timings = { heartbeatMs: 20_000, leaseMs: 60_000, expireMs: 80_000 }

export const settings: FleetSettings = {
  collections: [{ name: place.collection, envelopes: [place.field] }],
  fleet: timings,
  removal: { backupWindowMs: 0, undoWindowMs: 0 },
}

/**
 * A small fleet on the real store: the product's own statements, activities, seals and sweeps, in an order chosen by the
 * test.
 */
export interface World {
  readonly store: Store
  readonly provider: KekProvider
  readonly deps: ControlDeps
  readonly control: ControlActivities
  readonly apps: readonly Application[]
  /** The content of each record: changed by each seal, reverted when an old document is restored. */
  readonly contents: Map<string, string>
  /** Earlier states of documents. */
  readonly identity: InstallIdentity
  /** The id of the task row under which all rotations and removals run. */
  readonly task: string
  readonly copies: { document: Document; content: string }[]
  readonly frozen: FrozenSweep[]
  /** Versions that a rotation has settled away from and that are not active again. */
  readonly left: Set<number>
  /** Time that has passed, in milliseconds. */
  passedMs: number
  /** How many rotations have begun. */
  rotations: number
  rotation: RunningRotation | null
  removal: RunningRemoval | null
  /** For the counterexample. */
  readonly story: string[]
}

/** Runs a step of the product as its worker would, for the rotation's workflow if it has an install. */
export async function act<T>(step: () => Promise<T>, install?: InstallIdentity): Promise<T> {
  const workflowId = install === undefined ? 'another' : workflowIds.rotate(install)
  const workflowExecution = { workflowId, runId: 'run' }
  return await new MockActivityEnvironment({ workflowExecution }, { logger: quietLogger }).run(step)
}

/**
 * All versions are installed, the first is active, two applications have sent heartbeats, and each record is sealed by one
 * of them.
 */
export async function newWorld(store: Store): Promise<World> {
  await clear(store)
  const keks = new Map(versions.map((version) => [version, Buffer.alloc(32, version)]))
  const provider = openEnvProvider({ install, variablePrefix: 'MODEL_KEK_V', keks })
  const identity = identityOf(await insertInstall(store, { name: install, created_by: 'model' }))
  await claimProvider(store, { name: install, provider: 'env', by: 'model' })
  const task = await insertTask(store, { kind: 'rotate', by: 'model' })
  const sha256 = settingsHash(settings)
  await writeSettings(store, { settings, by: 'model' })
  for (const version of versions) await installVersion(store, provider, version)
  await insertFirstActive(store, 1)
  const deps = {
    config: { install, kek: { provider: 'env' }, fleet: timings },
    node: 'vm-a',
    store,
    provider,
    member: { beat: () => Promise.resolve() },
    log: silentLog,
  } as unknown as ActivityDeps
  const world: World = {
    store,
    identity,
    task,
    provider,
    passedMs: 0,
    rotations: 0,
    rotation: null,
    removal: null,
    story: [],
    deps,
    control: createControlActivities(deps),
    apps: ['app-0', 'app-1'].map((node) => new Application(node, sha256)),
    contents: new Map(),
    copies: [],
    frozen: [],
    left: new Set(),
  }
  for (const app of world.apps) {
    await app.send(world)
    await app.follow(world)
  }
  for (const [index, id] of recordIds.entries()) {
    const app = world.apps[index % world.apps.length]
    await app?.seal(world, id)
    await app?.write(world)
  }
  return world
}

async function installVersion(store: Store, provider: KekProvider, version: number): Promise<void> {
  const { ceremony } = provider
  const label = ceremony.labelOf(version)
  const gcm = await ceremony.gcmProfile()
  const intent = { version, provider: 'env', label, keyId: null } as const
  await insertIntent(store, {
    requestedBy: 'alice',
    ...intent,
    origin: 'environment',
    madeBy: 'model',
  })
  const canary = await ceremony.makeCanary(version, label, null, gcm)
  await completeInstall(
    store,
    version,
    { gcm, canary, label, keyId: null },
    { requestedBy: 'alice', madeBy: 'model' },
  )
  const row = (await readVersions(store)).find(({ _id }) => _id === version)
  const descriptor = row === undefined ? null : kekDescriptor(row)
  if (descriptor === null) throw new Error('the version is not complete')
  await provider.load(descriptor)
}

async function clear(store: Store): Promise<void> {
  for (const name of [...Object.values(names), place.collection]) {
    await store.db.collection(name).deleteMany({})
  }
  const none = { validator: {}, validationLevel: 'strict' }
  await store.db.command({ collMod: place.collection, ...none })
}

/**
 * Lets time pass for all: moves back the times in the database and the times that processes remember, as if all clocks had
 * gone forward.
 */
export async function letPass({ store, ...world }: World, ms: number): Promise<number> {
  const earlier = (path: string) => ({ $subtract: [path, ms] })
  const loaded = {
    $map: {
      input: '$loaded',
      in: { $mergeObjects: ['$$this', { proven_at: earlier('$$this.proven_at') }] },
    },
  }
  const times = ['started_at', 'at', 'lease_until', 'expires_at']
  await store.db
    .collection(names.heartbeats)
    .updateMany({}, [
      { $set: { loaded, ...Object.fromEntries(times.map((name) => [name, earlier(`$${name}`)])) } },
    ])
  const removal = ['requested_at', 'due_at'].map((name) => `removal.${name}`)
  await store.db
    .collection(names.versions)
    .updateMany({ removal: { $ne: null } }, [
      { $set: Object.fromEntries(removal.map((name) => [name, earlier(`$${name}`)])) },
    ])
  // Rows without a question must not get this member.
  const { rotations, questions } = names
  await store.db
    .collection(rotations)
    .updateMany({ question: { $ne: null } }, [{ $set: { 'question.asked_at': earlier('$question.asked_at') } }]) // prettier-ignore
  const before = { $mergeObjects: ['$$this', { asked_at: earlier('$$this.asked_at') }] }
  const asked = {
    asked_at: earlier('$asked_at'),
    earlier: { $map: { input: '$earlier', in: before } },
  }
  await store.db.collection(questions).updateMany({}, [{ $set: asked }])
  return world.passedMs + ms
}

export const newId = (): string => randomUUID()

/** The active version, and the others that are not destroyed, those that were once active first. */
export async function readKeks(store: Store): Promise<{ active: number; others: number[] }> {
  const active = (await readActive(store))?.version ?? 0
  const others = (await readVersions(store)).filter((row) => {
    return row.destroyed_at === null && row._id !== active
  })
  const used = others.filter(({ activated_at }) => activated_at !== null)
  const fresh = others.filter(({ activated_at }) => activated_at === null)
  return { active, others: [...used, ...fresh].map(({ _id }) => _id) }
}
