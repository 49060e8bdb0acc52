import { randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import fc from 'fast-check'
import { afterAll, expect, inject, test } from 'vitest'
import type { ControlDeps } from '../../activities/deps.ts'
import { runPreflight } from '../../activities/preflight.ts'
import { planRotation, readNodes, readReport, readStatus, scan } from '../../client/index.ts'
import { examine } from '../../client/doctor/examine.ts'
import { setup } from '../../client/setup.ts'
import { loadConfig } from '../../config/load-config.ts'
import { KeyturnError } from '../../contracts/errors.ts'
import { collections, workflowIds } from '../../contracts/names.ts'
import { seeNode } from '../../store/fleet-nodes.ts'
import { insertFirstActive } from '../../store/kek-active.ts'
import { identityOf, readInstall } from '../../store/kek-install.ts'
import { readSettings } from '../../store/kek-settings.ts'
import { writeHeartbeat } from '../../store/process-heartbeats.ts'
import { askForProof } from '../../store/proof-question.ts'
import { insertRanges } from '../../store/rewrap-ranges.ts'
import { anything, changed, pathsOf } from '../store/odd-documents.ts'
import {
  askRemoval,
  certificates,
  field,
  fill,
  installVersion,
  startRotation,
  testStore,
} from '../store/support.ts'

/** Each reading command ends with an answer or a coded refusal, whatever the content of a keystore document. */

const store = await testStore()
const folder = await mkdtemp(join(tmpdir(), 'keyturn-odd-'))
afterAll(() => rm(folder, { recursive: true }))
const file = join(folder, 'keyturn.yaml')
await writeFile(
  file,
  JSON.stringify({
    install: 'fuzz',
    mongodb: { uri: inject('mongoUri'), database: store.db.databaseName },
    temporal: { address: inject('temporalAddress') },
    kek: { provider: 'env' },
    collections: [{ name: certificates, envelopes: [field] }],
  }),
)
const config = loadConfig({ file })
await setup(config, () => Promise.resolve())
await store.db.collection(collections.install).updateOne({}, { $set: { provider: 'env' } })
await installVersion(store, 1)
await installVersion(store, 2)
await installVersion(store, 3)
await insertFirstActive(store, 1)
await fill(store, [1, 2])
const rotation = await startRotation(store)
const place = { collection: certificates, field, min: null, max: null }
await insertRanges(store, rotation, [{ range: '0-0', ...place }])
await askRemoval(store, 3)
await askForProof(store, { nonce: 'n-1', target: 1, openMs: 60_000 })
await seeNode(store, 'vm-a', 'host')
const recorded = await readSettings(store)
await writeHeartbeat(store, {
  node: 'vm-a',
  role: 'worker',
  pid: 7,
  boot: 'b',
  current: 1,
  epoch: 1,
  loaded: [{ version: 1, proven_at: new Date(), answers: 'n-1' }],
  leaseMs: 600_000,
  expireMs: 1_200_000,
  settings: recorded!.sha256.value(),
})
const identity = identityOf((await readInstall(store))!)

/** A rotation's preflight, as an activity of its workflow. It marks versions. */
async function preflight(): Promise<unknown> {
  const workflowExecution = { workflowId: workflowIds.rotate(identity), runId: randomUUID() }
  const activity = new MockActivityEnvironment({ workflowExecution })
  const input = {
    install: identity,
    task: 't',
    rotation: randomUUID(),
    from: 1,
    to: 2,
    requestedBy: 'ann',
    reason: '',
    maxRate: 0,
    maxHsmCalls: 0,
    page: 50,
    shards: 1,
    check: 'all' as const,
  }
  const deps = { config, store, node: 'vm-a' } as unknown as ControlDeps
  // The SDK logs each error of an activity.
  const ended: { facts?: unknown; error?: unknown } = await activity.run(async () => {
    return await runPreflight(deps, input).then(
      (facts) => ({ facts }),
      (error: unknown) => ({ error }),
    )
  })
  if (ended.error instanceof Error) throw ended.error
  return ended.facts
}

const readings: Record<string, () => Promise<unknown>> = {
  doctor: () => examine(config, () => Promise.resolve([])),
  status: () => readStatus(config),
  scan: () => scan(config, null),
  nodes: () => readNodes(config),
  report: () => readReport(config, rotation),
  plan: () =>
    planRotation(config, { from: 1, to: 2, maxRate: 0, maxHsmCalls: 0 }, () =>
      Promise.resolve(null),
    ),
  preflight,
}

/** All collections of the keystore that have documents, with their documents. */
const names = Object.values(collections)
const originals = new Map<string, { _id: unknown }[]>()
for (const name of names) {
  originals.set(name, await store.db.collection(name).find().toArray())
}
const fuzzed = names.filter((name) => originals.get(name)!.length > 0)

async function restore(): Promise<void> {
  for (const [name, documents] of originals) {
    const rows = store.db.collection(name)
    await rows.deleteMany({})
    if (documents.length > 0) await rows.insertMany(documents as never[])
  }
}

/** An answer that can be printed, or a coded refusal in one line. */
async function expectNamed(reading: string, changed: string): Promise<void> {
  try {
    JSON.stringify(await readings[reading]!())
  } catch (error) {
    const about = `${reading}, ${changed}: ${String(error)}\n${(error as Error).stack ?? ''}`
    expect(error instanceof KeyturnError && error.code !== 'internal', about).toBe(true)
    const { message } = error as KeyturnError
    expect({ about, lines: message.split('\n').length }).toEqual({ about, lines: 1 })
    expect(message.length).toBeLessThan(600)
  }
}

test.each(Object.keys(readings))('%s answers while nothing is malformed', async (reading) => {
  await expect(readings[reading]!()).resolves.toBeDefined()
  await restore()
})

test('status names an active version whose time is not a date', async () => {
  const rows = store.db.collection(collections.active)
  const [good] = originals.get(collections.active)!
  await rows.updateOne({}, { $set: { at: 0 } })
  await expect(readStatus(config)).rejects.toMatchObject({ code: 'document-malformed' })
  await rows.replaceOne({ _id: good!._id as never }, good!)
})

const anyMember = fc.constantFrom(...fuzzed).chain((name) =>
  fc.record({
    name: fc.constant(name),
    path: fc.constantFrom(...pathsOf(originals.get(name)![0]!)),
    value: anything,
  }),
)

test.each(Object.keys(readings))(
  '%s ends with a coded error, whatever a document contains',
  async (reading) => {
    await fc.assert(
      fc.asyncProperty(anyMember, async ({ name, path, value }) => {
        const good = originals.get(name)![0]!
        const rows = store.db.collection(name)
        await rows.replaceOne({ _id: good._id as never }, changed(good, path, value))
        await expectNamed(reading, `${name}.${path}`)
        // Preflight marks versions, and closes the ranges of other rotations.
        if (reading === 'preflight') await restore()
        else await rows.replaceOne({ _id: good._id as never }, good)
      }),
      { numRuns: 20 },
    )
  },
)
