import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js'
import { loadConfig } from '../../config/load-config.ts'
import { searchAttributes } from '../../contracts/names.ts'
import { dekAad } from '../../envelope/aad.ts'
import { parseEnvelope } from '../../envelope/envelope.ts'
import { idBytes } from '../../envelope/record-id.ts'
import { openProvider } from '../../keyring/open-provider.ts'
import { createLog } from '../../observability/log.ts'
import { kekDescriptor, readVersions } from '../../store/kek-versions.ts'
import { onEachProvider, route } from '../support/each-provider.ts'
import type { Fleet } from '../support/fleet.ts'
import { envelopeAt, places } from '../support/fleet-records.ts'

/** Where secrets must not be, by the name that a failure shows. */
type Haystacks = Map<string, Buffer>

onEachProvider('after a rotation', { records: 300 }, (fleetOf) => {
  test('no PIN, KEK or DEK is in a log, a command’s output, a history or the database', async () => {
    const fleet = fleetOf()
    const { to } = await route(fleet)
    const before = await deksOf(fleet)
    expect(before.length).toBe(300)
    await fleet.must('verify', '--target', `${to}`)
    // A kill and a refusal on the way: errors are where secrets leak.
    const rotation = fleet.start('rotate', '--to-version', `${to}`, '--max-rate', '20')
    await fleet.rewrapped(40)
    // Held in its middle, however long the next steps take.
    await fleet.must('rate', '1')
    await fleet.nodes.kill('vm-a')
    await fleet.nodes.start('vm-a')
    await fleet.cli('rotate', '--to-version', '9')
    await fleet.must('rate', '0')
    expect((await rotation.end()).code).toBe(0)
    await fleet.must('status')
    await fleet.must('scan', '--unwrap')
    const after = await deksOf(fleet)
    const hex = (deks: Buffer[]) => deks.map((dek) => dek.toString('hex')).toSorted()
    expect(hex(after)).toEqual(hex(before))

    const secrets = new Map<string, Buffer>(before.map((dek, index) => [`DEK ${index}`, dek]))
    if (fleet.token === null) {
      for (const [version, key] of fleet.envKeys) secrets.set(`KEK ${version}`, key)
    } else secrets.set('PIN', Buffer.from(fleet.token.pin))
    const haystacks = new Map([
      ...(await logs(fleet)),
      ...(await histories(fleet)),
      ...(await database(fleet)),
      ['the commands', Buffer.from(fleet.transcript())] as const,
    ])
    // The search itself is tried on what is known to be there.
    const known = new Map([['install', Buffer.from(fleet.install)]])
    const places = found(haystacks, known)
    for (const part of ['log', 'history', 'kek_install', 'the commands']) {
      expect(
        places.some((place) => place.includes(part)),
        part,
      ).toBe(true)
    }
    expect(found(haystacks, secrets)).toEqual([])
  })
})

/** The real DEKs of all records, opened with a provider of the test's own. */
async function deksOf(fleet: Fleet): Promise<Buffer[]> {
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
    haystacks.set(`${title}, payloads`, Buffer.concat(payloadsOf(history)))
  }
  return haystacks
}

/** All binary values of an object, however deep. */
function payloadsOf(value: unknown): Buffer[] {
  if (value instanceof Uint8Array) return [Buffer.from(value)]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(payloadsOf)
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

/** `SECRET in PLACE as FORM` for each secret that is anywhere, in any usual form. */
function found(haystacks: Haystacks, secrets: Map<string, Buffer>): string[] {
  const hits: string[] = []
  for (const [place, hay] of haystacks) {
    const lower = Buffer.from(hay.toString('latin1').toLowerCase(), 'latin1')
    for (const [name, secret] of secrets) {
      if (hay.includes(secret)) hits.push(`${name} in ${place} as it is`)
      if (lower.includes(secret.toString('hex'))) hits.push(`${name} in ${place} as hex`)
      for (const form of base64Forms(secret)) {
        if (hay.includes(form)) hits.push(`${name} in ${place} as base64`)
      }
    }
  }
  return hits
}

/** Base64 of the bytes wherever they begin in a longer text, without the digits that their neighbours share; both alphabets. */
function base64Forms(secret: Buffer): Set<string> {
  const forms = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), secret]).toString('base64')
    const cut = text.replace(/=+$/, '').slice(0, -1)
    return cut.slice(offset === 0 ? 0 : offset + 1)
  })
  return new Set(forms.flatMap((form) => [form, form.replaceAll('+', '-').replaceAll('/', '_')]))
}
