import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { inject } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import type { Pkcs11Config } from '../../contracts/settings.ts'
import { silentLog } from '../../observability/log.ts'
import { openEnvProvider } from '../../providers/env/env-provider.ts'
import { openPkcs11Provider, type Pkcs11Provider } from '../../providers/pkcs11/pkcs11-provider.ts'
import type { KekProvider, RewrapItem } from '../../providers/provider.ts'
import { makeFaultHsm, useFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { freshName } from '../support/fresh.ts'
import { makeKryopticTokens } from '../support/kryoptic.ts'
import { makeNssToken, type NssToken } from '../support/nss.ts'
import { makeToken, type TestToken } from '../support/softhsm.ts'

export const run = promisify(execFile)
export const install = 'fixture'

/** What the suite needs of a provider under test: fresh ones on the same keys, and keys of a version. */
export interface Fixture {
  open(): Promise<KekProvider>
  /** Makes (or finds) the key of a version and its canary. */
  make(provider: KekProvider, version: number): Promise<KekDescriptor>
  /** The same label with another key behind it: what a host with an independent token sees. */
  openElsewhere(): Promise<KekProvider>
  close(): Promise<void>
}

export function envFixture(): Promise<Fixture> {
  const variablePrefix = 'LAB_KEK_V'
  const material = (): Map<number, Buffer> =>
    new Map([1, 2, 3].map((version) => [version, randomBytes(32)]))
  const shared = material()
  const open = (keks: Map<number, Buffer>): Promise<KekProvider> =>
    Promise.resolve(openEnvProvider({ install, variablePrefix, keks }))
  return Promise.resolve({
    open: () => open(shared),
    make: (provider, version) => describeKey(provider, version, null),
    openElsewhere: () => open(material()),
    close: () => Promise.resolve(),
  })
}

type Changeable<T> = { -readonly [K in keyof T]: T[K] }

export interface Pkcs11Fixture extends Fixture {
  token: TestToken
  config: Changeable<Pkcs11Config>
  open(change?: Partial<Pkcs11Config>): Promise<Pkcs11Provider>
}

/** The same with the fault module over SoftHSM2; `lines` are those of its control file. */
export async function faultFixture(
  ...lines: string[]
): Promise<Pkcs11Fixture & { fault: FaultHsm }> {
  const fixture = await pkcs11Fixture()
  const fault = await makeFaultHsm(fixture.token.folder, fixture.token.modulePath)
  useFaultHsm(fault)
  await fault.set(...lines)
  fixture.config.modulePath = fault.path
  return { ...fixture, fault }
}

/** The same SoftHSM2 tokens through p11-kit's proxy. */
export async function p11KitFixture(): Promise<Pkcs11Fixture> {
  const fixture = await pkcs11Fixture()
  fixture.config.modulePath = inject('p11KitProxy') ?? ''
  return fixture
}

/** A database of NSS's softokn for each of the two tokens. */
export async function nssFixture(): Promise<Fixture> {
  const here = await makeNssToken()
  const elsewhere = await makeNssToken()
  const open = ({ modulePath, moduleParameters, label, pin }: NssToken) => {
    const config = { ...baseConfig, modulePath, moduleParameters, token: { label } }
    return openPkcs11Provider({ install, config, pin, log: silentLog, cores: 2 })
  }
  return {
    open: () => open(here),
    make: (provider, version) => describeKey(provider, version, randomBytes(16)),
    openElsewhere: async () => withKeys(await open(elsewhere)),
    close: async () => {
      await here.remove()
      await elsewhere.remove()
    },
  }
}

/** Two tokens of Kryoptic. */
export async function kryopticFixture(): Promise<Fixture> {
  const { modulePath, moduleParameters, labels, pin, remove } = await makeKryopticTokens()
  const open = (label: string) => {
    const config = { ...baseConfig, modulePath, moduleParameters, token: { label } }
    return openPkcs11Provider({ install, config, pin, log: silentLog, cores: 2 })
  }
  return {
    open: () => open(labels[0]),
    make: (provider, version) => describeKey(provider, version, randomBytes(16)),
    openElsewhere: async () => withKeys(await open(labels[1])),
    close: remove,
  }
}

/** A token of its own for the test file; its lanes find it through SOFTHSM2_CONF of this process. */
export async function pkcs11Fixture(): Promise<Pkcs11Fixture> {
  const token = await makeToken()
  process.env['SOFTHSM2_CONF'] = token.conf
  const elsewhere = freshName('elsewhere')
  await initToken(token, elsewhere)
  const config: Changeable<Pkcs11Config> = configFor(token)
  const open = (change: Partial<Pkcs11Config> = {}): Promise<Pkcs11Provider> =>
    openPkcs11(token, { ...config, ...change })
  return {
    token,
    config,
    open,
    make: (provider, version) => describeKey(provider, version, randomBytes(16)),
    openElsewhere: async () => withKeys(await open({ token: { label: elsewhere } })),
    close: () => token.remove(),
  }
}

export function openPkcs11(token: TestToken, config: Pkcs11Config): Promise<Pkcs11Provider> {
  const options = { install, config, pin: token.pin, log: silentLog, cores: 2 }
  return openPkcs11Provider(options)
}

export const baseConfig = {
  pinEnv: 'LAB_PIN',
  keyLabelPrefix: 'fixture',
  maxSessions: 8,
  useGcmIvFromHsm: 'auto',
} as const

export function configFor(token: TestToken): Pkcs11Config {
  return { ...baseConfig, modulePath: token.modulePath, token: { label: token.label } }
}

/** Keys of both versions, other ones than anybody else has. */
async function withKeys(provider: Pkcs11Provider): Promise<Pkcs11Provider> {
  for (const version of [1, 2]) {
    const label = provider.ceremony.labelOf(version)
    await provider.ceremony.generate(label, randomBytes(16)).catch(() => undefined)
  }
  return provider
}

/** One more token in the same folder, with the same PIN. */
export async function initToken(token: TestToken, label: string): Promise<void> {
  const pins = ['--pin', token.pin, '--so-pin', '12345678']
  await run('softhsm2-util', ['--init-token', '--free', '--label', label, ...pins])
}

async function describeKey(
  provider: KekProvider,
  version: number,
  keyId: Buffer | null,
): Promise<KekDescriptor> {
  const { ceremony } = provider
  const label = ceremony.labelOf(version)
  const gcm = await ceremony.gcmProfile()
  if (keyId !== null) await ceremony.generate(label, keyId)
  const found = await ceremony.find(label, keyId)
  const canary = await ceremony.makeCanary(version, label, found.keyId, gcm)
  return { version, provider: provider.name, label, keyId: found.keyId, gcm, canary }
}

export function randomDeks(count: number): { dek: Buffer; aad: Buffer }[] {
  return Array.from({ length: count }, () => ({ dek: randomBytes(32), aad: randomBytes(32) }))
}

/** Fresh DEKs wrapped under a version, as items that a rewrap to any other version takes. */
export async function sealedItems(
  provider: KekProvider,
  version: number,
  deks: { dek: Buffer; aad: Buffer }[],
): Promise<RewrapItem[]> {
  const wraps = await provider.wrap(version, deks)
  return wraps.map((wrap, index) => ({
    ...wrap,
    aadFrom: deks[index]!.aad,
    aadTo: randomBytes(32),
  }))
}

/** The same bytes with one bit changed. */
export function flip(bytes: Buffer, at = 0): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] = copy[at]! ^ 1
  return copy
}

/** Whether a process is there, a zombie not counted. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) [ZX] /.test(stat)
}

/** Waits until `condition` holds; throws after a minute. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const start = performance.now()
  while (!(await condition())) {
    if (performance.now() - start > 60_000) throw new Error('the condition never held')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
