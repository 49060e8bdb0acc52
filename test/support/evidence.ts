import { copyFile, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import type { Client } from '@temporalio/client'
import { searchAttributes } from '../../contracts/names.ts'

/**
 * What a failed test leaves behind: a folder below .keyturn/failed with the logs and workflow histories of its fleets and the
 * output of its processes. evidence-hooks.ts drives it.
 */
export interface Evidence {
  /** Name of its folder. */
  readonly name: string
  /** Writes files into the folder. */
  collect(folder: string): Promise<void>
}

const open = new Set<Evidence>()
const root = join(process.cwd(), '.keyturn', 'failed')
/** Evidence of fleets that were closed before their test had ended. */
const closed = join(root, `closed-${process.pid}`)
let isTesting = false

/** Offers evidence until the returned function is called. That function keeps it for the test that runs. */
export function offerEvidence(evidence: Evidence): () => Promise<void> {
  open.add(evidence)
  return async () => {
    open.delete(evidence)
    if (isTesting) await collectInto(closed, evidence)
  }
}

/** Writes all evidence there is now into a fresh folder and prints its path. */
export async function keepEvidence(title: string): Promise<void> {
  const slug = title.replaceAll(/[^\w]+/g, '-').slice(0, 80)
  const folder = join(root, `${new Date().toISOString().replaceAll(/[:.]/g, '-')}-${slug}`)
  await mkdir(root, { recursive: true })
  await rename(closed, folder).catch(() => mkdir(folder, { recursive: true }))
  for (const evidence of open) await collectInto(folder, evidence)
  console.error(`logs and histories of this failure: ${relative(process.cwd(), folder)}`)
}

/** The workers' logs of a fleet and the histories of its workflows. */
export function fleetEvidence(fleet: {
  install: string
  folder: string
  temporal: Client
}): Evidence {
  return {
    name: fleet.install,
    async collect(folder) {
      for (const name of await readdir(fleet.folder)) {
        if (name.endsWith('.log')) await copyFile(join(fleet.folder, name), join(folder, name))
      }
      const query = `${searchAttributes.install} = "${fleet.install}"`
      for await (const { workflowId, runId } of fleet.temporal.workflow.list({ query })) {
        const history = await fleet.temporal.workflow.getHandle(workflowId, runId).fetchHistory()
        const file = `${workflowId.replaceAll(/[^\w.-]+/g, '_')}.${runId}.json`
        await writeFile(join(folder, file), historyToJSON(history))
      }
    },
  }
}

async function collectInto(folder: string, evidence: Evidence): Promise<void> {
  const own = join(folder, evidence.name)
  try {
    await mkdir(own, { recursive: true })
    await evidence.collect(own)
  } catch (error) {
    // The test's own error matters; a server that is down has no histories.
    await writeFile(join(own, 'incomplete.txt'), String(error)).catch(() => undefined)
  }
}

/** Call it before each test. */
export function beginTest(): void {
  isTesting = true
}

/** Call it after each test, once its own hooks have run: keeps the evidence of a failed one, named by `title`. */
export async function endTest(failed: string | null): Promise<void> {
  isTesting = false
  if (failed !== null) await keepEvidence(failed)
  await rm(closed, { recursive: true, force: true })
}
