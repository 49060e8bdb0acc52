import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { loadConfig } from '../../config/load-config.ts'
import { searchAttributes } from '../../contracts/names.ts'
import { binaryValues, foundSecrets } from '../../devstack/secret-search.ts'
import { dekAad } from '../../envelope/aad.ts'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { idBytes } from '../../envelope/record-id.ts'
import { openProvider } from '../../keyring/open-provider.ts'
import { createLog } from '../../observability/log.ts'
import { kekDescriptor, readVersions } from '../../store/kek-versions.ts'
import type { Fleet } from './fleet.ts'
import { envelopeAt, places } from './fleet-records.ts'

type Haystacks = Map<string, Buffer>

/** `SECRET in PLACE as FORM` for each secret of the fleet that a log, an output, a history or the database contains. */
export async function leakedSecrets(fleet: Fleet, deks: readonly Buffer[]): Promise<string[]> {
  const secrets = new Map<string, Buffer>(deks.map((dek, index) => [`DEK ${index}`, dek]))
  if (fleet.token === null) {
    for (const [version, key] of fleet.envKeys) secrets.set(`KEK ${version}`, key)
  } else secrets.set('PIN', Buffer.from(fleet.token.pin))
  const haystacks = new Map([
    ...(await logs(fleet)),
    ...(await histories(fleet)),
    ...(await database(fleet)),
    ['the commands', Buffer.from(fleet.transcript())] as const,
  ])
  // The search is tried on a value that each kind of place contains.
  const hits = foundSecrets(haystacks, new Map([['install', Buffer.from(fleet.install)]]))
  for (const kind of ['log', 'history', 'kek_install', 'the commands']) {
    if (!hits.some((hit) => hit.includes(kind)))
      throw new Error(`the search finds nothing in ${kind}`)
  }
  return foundSecrets(haystacks, secrets)
}

/** The real DEKs of all records, opened with a provider of the test's own. */
export async function deksOf(fleet: Fleet): Promise<Buffer[]> {
  const config = loadConfig({ file: fleet.config, env: { ...process.env, ...fleet.env } })
  const log = createLog({ level: 'silent', pretty: false })
  const provider = await openProvider(config, { ...process.env, ...fleet.env }, log)
  try {
    for (const row of await readVersions(fleet.store)) {
      const kek = kekDescriptor(row)
      if (kek !== null) await provider.load(kek)
    }
    const deks: Buffer[] = []
    for (const { collection, field } of places) {
      for (const document of await fleet.store.db.collection(collection).find().toArray()) {
        const envelope = parseEnvelope(envelopeAt(document, field))
        const { kek_version: version, dek_iv: iv, dek_wrapped: wrapped } = envelope
        const aad = dekAad(fleet.install, collection, field, idBytes(document._id), version)
        const [dek] = await provider.unwrap(version, [{ iv, wrapped, aad }])
        if (!Buffer.isBuffer(dek)) throw dek ?? new Error('no answer')
        deks.push(Buffer.from(dek))
      }
    }
    return deks
  } finally {
    await provider.close()
  }
}

async function logs({ folder }: Fleet): Promise<Haystacks> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.log'))
  const files = names.map(
    async (name) => [`log ${name}`, await readFile(join(folder, name))] as const,
  )
  return new Map(await Promise.all(files))
}

/** Every workflow of the install, as JSON and with its payloads as they are inside of it. */
async function histories({ temporal, install }: Fleet): Promise<Haystacks> {
  const haystacks: Haystacks = new Map()
  const query = `${searchAttributes.install} = "${install}"`
  for await (const { workflowId, runId, memo } of temporal.workflow.list({ query })) {
    const history = await temporal.workflow.getHandle(workflowId, runId).fetchHistory()
    const json = historyToJSON(history)
    const title = `history of ${workflowId} ${runId}`
    haystacks.set(`${title}, JSON`, Buffer.from(json + JSON.stringify(memo ?? {})))
    haystacks.set(`${title}, payloads`, Buffer.concat(binaryValues(history)))
  }
  return haystacks
}

/** All collections, the application's too, as MongoDB stores them. */
async function database({ store }: Fleet): Promise<Haystacks> {
  const haystacks: Haystacks = new Map()
  for (const { collectionName } of await store.db.collections()) {
    const documents = await store.db
      .collection(collectionName)
      .find<Buffer>({}, { raw: true })
      .toArray()
    haystacks.set(`collection ${collectionName}`, Buffer.concat(documents))
  }
  return haystacks
}
