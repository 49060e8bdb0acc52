import { execFile } from 'node:child_process'
import { open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Client, Connection } from '@temporalio/client'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { loadConfig } from '../../config/load-config.ts'
import { searchAttributes } from '../../contracts/names.ts'
import { binaryValues, foundSecrets } from '../../devstack/secret-search.ts'
import { waitUntil } from '../../devstack/wait-until.ts'
import { dekAad } from '../../envelope/aad.ts'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { idBytes } from '../../envelope/record-id.ts'
import { install } from '../fill-records.ts'
import type { Fixture } from '../fixture.ts'
import { field } from './book.ts'
import { descendants } from './processes.ts'

/** Places that were searched and what was found there. */
export interface Searched {
  /** Bytes by kind of place. */
  readonly bytes: Record<Kind, number>
  readonly hits: ReadonlySet<string>
}

export type Kind = 'log' | 'history' | 'metrics' | 'argv' | 'environment' | 'core' | 'keystore'

const chunkBytes = 64 * 2 ** 20
/** Longer than the longest form of a secret. */
const overlapBytes = 1_024
/** The `env` provider reads its keys from the environment, so finding them there is no leak. */
const keyVariable = /^KEYTURN_ENCRYPTION_ENV_KEK_V\d+=/
const execute = promisify(execFile)

/** The secrets of a fleet: its PIN or keys, and data keys and plaintexts that it had in hand. */
export async function secretsOf(
  fixture: Fixture,
  plaintexts: readonly string[],
): Promise<Map<string, Buffer>> {
  const { stack, store, provider } = fixture
  const secrets = new Map<string, Buffer>()
  if (stack.provider === 'pkcs11') {
    secrets.set('PIN', await readFile(join(stack.folder, 'pin')))
  } else {
    for (const [name, hex] of Object.entries(stack.keyEnv))
      secrets.set(name, Buffer.from(hex, 'hex'))
  }
  for (const [index, text] of plaintexts.entries())
    secrets.set(`plaintext ${index}`, Buffer.from(text))
  const rows = store.db
    .collection<{ _id: string }>('records')
    .aggregate([{ $sample: { size: 50 } }])
  for (const row of await rows.toArray()) {
    const envelope = parseEnvelope(row[field])
    const { kek_version: version, dek_iv: iv, dek_wrapped: wrapped } = envelope
    const aad = dekAad(install, 'records', field, idBytes(row['_id']), version)
    const [dek] = await provider.unwrap(version, [{ iv, wrapped, aad }])
    if (!Buffer.isBuffer(dek)) throw dek ?? new Error('no answer')
    secrets.set(`DEK of ${String(row['_id'])}`, Buffer.from(dek))
  }
  return secrets
}

export class SecretSearch implements Searched {
  readonly bytes: Record<Kind, number> = {
    log: 0,
    history: 0,
    metrics: 0,
    argv: 0,
    environment: 0,
    core: 0,
    keystore: 0,
  }
  readonly hits = new Set<string>()
  readonly #fixture: Fixture
  readonly #secrets: ReadonlyMap<string, Buffer>

  constructor(fixture: Fixture, secrets: ReadonlyMap<string, Buffer>) {
    this.#fixture = fixture
    this.#secrets = secrets
  }

  /** What changes: health pages and the processes that run now. */
  async living(): Promise<void> {
    const { stack, workers } = this.#fixture
    for (const { node } of workers) {
      const { listen } = loadConfig({ file: stack.configFile(node) }).worker
      const page = await fetch(`http://${listen}/metrics`, { signal: AbortSignal.timeout(2_000) })
        .then(async (answer) => await answer.text())
        .catch(() => '')
      this.#search('metrics', `of ${node}`, Buffer.from(page))
    }
    for (const pid of await descendants(process.pid)) {
      const argv = await readFile(`/proc/${pid}/cmdline`).catch(() => Buffer.alloc(0))
      const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
      const others = environment.split('\0').filter((one) => !keyVariable.test(one))
      this.#search('argv', argv.toString('latin1').slice(0, 80), argv)
      this.#search('environment', `of ${pid}`, Buffer.from(others.join('\0'), 'latin1'))
    }
  }

  /** What stays: logs, histories and the keystore's documents. */
  async lasting(folders: readonly string[]): Promise<void> {
    for (const folder of folders) {
      for (const name of await readdir(folder, { recursive: true })) {
        if (name.endsWith('.log')) await this.#file('log', join(folder, name))
      }
    }
    await this.#histories()
    const { db } = this.#fixture.store
    for (const { collectionName } of await db.collections()) {
      if (collectionName === 'records' || collectionName === 'live') continue
      const documents = await db
        .collection(collectionName)
        .find<Buffer>({}, { raw: true })
        .toArray()
      this.#search('keystore', collectionName, Buffer.concat(documents))
    }
  }

  /**
   * Ends a worker and its lanes by SIGABRT with no limit of the dump's size, and searches what the kernel wrote. Null where
   * the kernel writes no dump into the process's folder (core(5)).
   */
  async core(index: number): Promise<number | null> {
    const pattern = await readFile('/proc/sys/kernel/core_pattern', 'utf8').catch(() => '|')
    const worker = this.#fixture.workers[index]
    if (worker === undefined || pattern.trim() !== 'core') return null
    const lanes = await descendants(worker.pid)
    let dumps = 0
    for (const pid of [...lanes, worker.pid]) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
      // The shell that supervises the worker is no process of the product, and has the same environment.
      if (command.split('\0')[0] !== process.execPath) continue
      await execute('prlimit', ['--pid', pid.toString(), '--core=unlimited'])
      process.kill(pid, 'SIGABRT')
      const file = await coreOf(pid)
      if (file === null) continue
      const kept = join(this.#fixture.stack.folder, `core.${pid}`)
      await rename(file, kept)
      await this.#file('core', kept)
      await rm(kept)
      dumps += 1
    }
    await worker.process.ended
    return dumps
  }

  async #histories(): Promise<void> {
    const connection = await Connection.connect({ address: this.#fixture.stack.temporalAddress })
    try {
      const { workflow } = new Client({ connection })
      const query = `${searchAttributes.install} = "${install}"`
      for await (const { workflowId, runId, memo } of workflow.list({ query })) {
        const history = await workflow.getHandle(workflowId, runId).fetchHistory()
        const json = historyToJSON(history) + JSON.stringify(memo ?? {})
        this.#search('history', `${workflowId}, JSON`, Buffer.from(json))
        this.#search('history', workflowId, Buffer.concat(binaryValues(history)))
      }
    } finally {
      await connection.close()
    }
  }

  async #file(kind: Kind, path: string): Promise<void> {
    const file = await open(path)
    try {
      const { size } = await file.stat()
      for (let at = 0; at < size; at += chunkBytes - overlapBytes) {
        const chunk = Buffer.alloc(Math.min(chunkBytes, size - at))
        await file.read(chunk, 0, chunk.length, at)
        this.#search(kind, path, chunk)
      }
    } finally {
      await file.close()
    }
  }

  #search(kind: Kind, place: string, hay: Buffer): void {
    this.bytes[kind] += hay.length
    for (const hit of foundSecrets(new Map([[`${kind} ${place}`, hay]]), this.#secrets)) {
      this.hits.add(hit)
    }
  }
}

/** The dump that the kernel writes into the folder in which this process, and so its children, run. */
async function coreOf(pid: number): Promise<string | null> {
  const isOver = async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    return status === '' || /^State:\s+Z/m.test(status)
  }
  await waitUntil(`process ${pid} does not end`, isOver, { withinMs: 60_000 })
  const names = await readdir('.')
  return names.find((name) => name === 'core' || name === `core.${pid}`) ?? null
}
