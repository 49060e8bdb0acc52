import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { historyFromJSON, historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { Worker } from '@temporalio/worker'
import { describe, expect, test } from 'vitest'
import { workflowIds } from '../../contracts/names.ts'
import type { PolicyView } from '../../contracts/views.ts'
import { readRanges } from '../../store/rewrap-ranges.ts'
import { lastRotation } from '../../store/rotations.ts'
import { openFleet } from '../support/fleet.ts'
import { quietRuntime } from '../support/quiet-runtime.ts'
import type { Fleet } from '../support/fleet.ts'

/**
 * A rotation runs for weeks while workers are updated: a workflow change that cannot replay its history stops it.
 * `test/histories/` has recorded runs; with KEYTURN_RECORD=1 this test records them again. Do that only for a workflow that
 * was never released; otherwise keep the old file too and make the change behind `patched`.
 */
const folder = fileURLToPath(new URL('../histories/', import.meta.url))
const workflowBundle = { codePath: createRequire(import.meta.url).resolve('#workflow-bundle') }

quietRuntime()

interface Recorded {
  name: string
  workflowId: string
  json: string
}

/** Members that name the recording machine are removed. */
function plain(name: string, value: unknown): unknown {
  return name === 'stackTrace' || name === 'identity' ? '' : value
}

async function replay({ json, workflowId }: Recorded): Promise<void> {
  const history = historyFromJSON(JSON.parse(json))
  await Worker.runReplayHistory({ workflowBundle }, history, workflowId)
}

async function replayStory(
  versions: number[],
  tell: (fleet: Fleet) => Promise<Recorded[]>,
): Promise<void> {
  const fleet = await openFleet({ provider: 'env', versions })
  try {
    const recorded = await tell(fleet)
    for (const one of recorded) await replay(one)
    if (process.env['KEYTURN_RECORD'] === undefined) return
    for (const { name, workflowId, json } of recorded) {
      const text = JSON.stringify({ workflowId, history: JSON.parse(json, plain) as unknown })
      await writeFile(`${folder}${name}.json`, `${text}\n`)
    }
  } finally {
    await fleet.close()
  }
}

describe('histories', () => {
  test('of a steered, cancelled and finished rotation, a verify and a removal replay', async () => {
    await replayStory([1, 2], story)
  })

  test('of a run of a policy replays', async () => {
    await replayStory([1], policyStory)
  })

  test('that were recorded earlier still replay', async () => {
    const names = (await readdir(folder)).filter((name) => name.endsWith('.json'))
    expect(names.length).toBeGreaterThanOrEqual(9)
    for (const name of names) {
      const { workflowId, history } = JSON.parse(await readFile(`${folder}${name}`, 'utf8')) as {
        workflowId: string
        history: unknown
      }
      const replayed = replay({ name, workflowId, json: JSON.stringify(history) })
      await expect(replayed, name).resolves.toBeUndefined()
    }
  })
})

/** Runs each workflow of an install, and fetches its history right after its end, before the id is used again. */
async function story(fleet: Fleet): Promise<Recorded[]> {
  const { identity: install } = fleet
  const recorded: Recorded[] = []
  const record = async (name: string, workflowId: string) => {
    const history = await fleet.temporal.workflow.getHandle(workflowId).fetchHistory()
    recorded.push({ name, workflowId, json: historyToJSON(history) })
  }
  const recordRange = async (name: string) => {
    const rotation = (await lastRotation(fleet.store))?._id ?? ''
    const [range] = await readRanges(fleet.store, rotation)
    if (range === undefined) throw new Error('the rotation had no range')
    await record(name, workflowIds.range(install, range.field, range._id.shard))
  }
  await record('install', workflowIds.install(install, 1))
  await fleet.fill(800)
  await fleet.must('verify', '--target', '2')
  await record('verify', workflowIds.verify(install, 2))

  const rotation = fleet.start('rotate', '--to-version', '2', '--max-rate', '4')
  await fleet.rewrapped(1)
  await fleet.must('pause')
  await fleet.must('rate', '8')
  await fleet.must('resume')
  await fleet.rewrapped(8)
  await fleet.must('cancel')
  expect((await rotation.end()).code).toBe(7)
  await record('rotate-cancelled', workflowIds.rotate(install))
  await recordRange('range-cancelled')

  await fleet.must('rotate', '--to-version', '2')
  await record('rotate-finished', workflowIds.rotate(install))
  await recordRange('range-finished')
  await fleet.cli('rotate', '--to-version', '1', '--max-hsm-calls', '1', '--detach')
  await fleet.until('it does not pause', async () => {
    const progress = await fleet.rotateWorkflow().query<{ pausedBy: string | null }>('progress')
    return progress.pausedBy === 'hsm-budget'
  })
  await fleet.must('cancel')
  await record('rotate-hsm-budget', workflowIds.rotate(install))

  await fleet.must('rotate', '--from-version', '1', '--to-version', '2').catch(() => undefined)
  if ((await fleet.active()) === 1) await fleet.must('rotate', '--to-version', '2')
  await fleet.must('remove', '--version', '1')
  await record('remove', workflowIds.remove(install, 1))
  return recorded
}

/** A run that makes the next version, rotates to it, and requests the removal of the old one. */
async function policyStory(fleet: Fleet): Promise<Recorded[]> {
  const { identity: install } = fleet
  await fleet.fill(20)
  await fleet.must('policy', 'set', '--every', '90d', '--remove-after', '30d')
  await fleet.must('policy', 'run')
  await fleet.until('the run of the policy does not end', async () => {
    const { lastRun } = (await fleet.must('policy', 'show'))['policy'] as PolicyView
    return lastRun?.outcome === 'completed'
  })
  const schedule = fleet.temporal.schedule.getHandle(workflowIds.policy(install))
  const run = (await schedule.describe()).info.recentActions.at(-1)?.action.workflow.workflowId
  const history = await fleet.temporal.workflow.getHandle(run ?? '').fetchHistory()
  return [{ name: 'policy', workflowId: run ?? '', json: historyToJSON(history) }]
}
