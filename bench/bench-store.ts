import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Binary, Int32 } from 'mongodb'
import type { ProviderName } from '../contracts/kek.ts'
import { startMongod } from '../devstack/mongod.ts'
import { findServer } from '../devstack/servers/find-server.ts'
import { findSoftHsm } from '../devstack/servers/softhsm.ts'
import { makeSoftToken } from '../devstack/soft-token.ts'
import { dekAad } from '../envelope/aad.ts'
import { idBytes } from '../envelope/record-id.ts'
import { createLog } from '../observability/log.ts'
import { openEnvProvider } from '../providers/env/env-provider.ts'
import { openPkcs11Provider } from '../providers/pkcs11/pkcs11-provider.ts'
import type { KekProvider } from '../providers/provider.ts'
import { createIndexes } from '../store/indexes.ts'
import { openStore, type Store } from '../store/store.ts'

export const install = 'bench'
export const place = { collection: 'records', field: 'secret' }
export const benchCollections = [{ name: place.collection, envelopes: [place.field] }]
const log = createLog({ level: 'warn', pretty: false })

/** A mongod of its own (or the one at `uri`) with an empty database, both gone afterwards. */
export async function withBenchStore<T>(
  uri: string | null,
  use: (store: Store, folder: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-bench-'))
  const mongod =
    uri === null
      ? await startMongod({
          path: (await findServer('mongod', { say: console.error })).path,
          folder,
        })
      : null
  try {
    const store = await openStore({
      uri: uri ?? mongod?.uri ?? '',
      database: `bench-${process.pid}`,
    })
    try {
      return await use(store, folder)
    } finally {
      await store.db.dropDatabase()
      await store.close()
    }
  } finally {
    await mongod?.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** With versions 1 and 2 ready. */
export async function openBenchProvider(name: ProviderName, folder: string): Promise<KekProvider> {
  const provider = name === 'env' ? openEnv() : await openSoft(folder)
  const { ceremony } = provider
  const gcm = await ceremony.gcmProfile()
  for (const version of [1, 2]) {
    const label = ceremony.labelOf(version)
    const keyId = name === 'env' ? null : randomBytes(16)
    if (keyId !== null) await ceremony.generate(label, keyId)
    const canary = await ceremony.makeCanary(version, label, keyId, gcm)
    await provider.load({ version, provider: name, label, keyId, gcm, canary })
  }
  return provider
}

function openEnv(): KekProvider {
  const keks = new Map([1, 2].map((version) => [version, randomBytes(32)]))
  return openEnvProvider({ install, variablePrefix: 'BENCH_KEK_V', keks })
}

async function openSoft(folder: string): Promise<KekProvider> {
  const softhsm = await findSoftHsm()
  if (softhsm === null) throw new Error('SoftHSM2 is not installed')
  const token = await makeSoftToken(softhsm, folder, 'bench')
  process.env['SOFTHSM2_CONF'] = token.conf
  const config = {
    modulePath: token.modulePath,
    token: { label: token.label },
    pinEnv: '',
    keyLabelPrefix: 'bench',
    maxSessions: 30,
    useGcmIvFromHsm: 'auto' as const,
  }
  return openPkcs11Provider({ install, config, pin: token.pin, log })
}

/** Seals and inserts so many records under version 1, with 200 bytes of data each. */
export async function fillRecords(store: Store, provider: KekProvider, count: number) {
  const { collection, field } = place
  await createIndexes(store, benchCollections)
  for (let at = 0; at < count; at += 2_000) {
    const size = Math.min(2_000, count - at)
    const ids = Array.from({ length: size }, (_, n) => `record-${String(at + n).padStart(9, '0')}`)
    const deks = ids.map((id) => ({
      dek: randomBytes(32),
      aad: dekAad(install, collection, field, idBytes(id), 1),
    }))
    const wraps = await provider.wrap(1, deks)
    const records = ids.map((_id, n) => ({
      _id,
      [field]: {
        format: new Int32(1),
        kek_version: new Int32(1),
        provider: provider.name,
        dek_iv: new Binary(wraps[n]?.iv),
        dek_wrapped: new Binary(wraps[n]?.wrapped),
        iv: new Binary(randomBytes(12)),
        ciphertext: new Binary(randomBytes(200)),
      },
    }))
    await store.db.collection<{ _id: string }>(collection).insertMany(records, { ordered: false })
  }
}
