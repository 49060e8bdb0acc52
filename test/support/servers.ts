import { rm } from 'node:fs/promises'
import type { TestProject } from 'vitest/node'
import { addressVariables } from '../../devstack/fetch-servers.ts'
import { startMongod } from '../../devstack/mongod.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { findSoftHsm, installCommand } from '../../devstack/servers/softhsm.ts'
import { freshFolder } from '../../devstack/stack-folder.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import { findKryoptic } from './kryoptic.ts'
import { findNss } from './nss.ts'
import { findP11KitProxy } from './p11-kit.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** A replica set, shared by the whole run: use a database of your own (`freshName`). */
    mongoUri: string
    /** Shared by the whole run: use an install name of your own. */
    temporalAddress: string
    /** Path of libsofthsm2.so, or null where it is not installed. */
    softhsm: string | null
    /** Path of NSS's libsoftokn3.so, or null where it or certutil is not installed. */
    nss: string | null
    /** Path of p11-kit-proxy.so, or null where it is not installed or does not show SoftHSM2. */
    p11KitProxy: string | null
    /** Path of libkryoptic_pkcs11.so, or null where it is not built or pkcs11-tool is not installed. */
    kryoptic: string | null
  }
}

interface Running {
  stop(): Promise<void>
}

/**
 * One mongod and one Temporal for the whole run. Each is found as `npm run demo` finds it; an address in the variables of
 * `addressVariables` is used as it is.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await freshFolder('test')
  const running: Running[] = []
  const stop = async () => {
    await Promise.all(running.map((server) => server.stop()))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await Promise.all([
      provideMongod(project, folder, running),
      provideTemporal(project, folder, running),
    ])
  } catch (error) {
    await stop()
    throw error
  }
  const softhsm = await findSoftHsm()
  if (softhsm === null) {
    console.error(`SoftHSM2 is missing, its tests are skipped; to install it: ${installCommand()}`)
  }
  project.provide('softhsm', softhsm?.modulePath ?? null)
  await provideModules(project)
  return stop
}

/** Further modules for the provider tests; each that is missing is named, and its tests are skipped. */
async function provideModules(project: TestProject): Promise<void> {
  const modules = {
    nss: { name: 'NSS', find: findNss },
    p11KitProxy: { name: 'p11-kit’s proxy over SoftHSM2', find: findP11KitProxy },
    kryoptic: { name: 'Kryoptic', find: findKryoptic },
  }
  for (const key of ['nss', 'p11KitProxy', 'kryoptic'] as const) {
    const { name, find } = modules[key]
    const path = await find()
    project.provide(key, path)
    if (path === null) {
      console.error(
        `${name} is missing, its tests are skipped; to install it: npm run test:modules`,
      )
    }
  }
}

async function provideMongod(project: TestProject, folder: string, running: Running[]) {
  const given = process.env[addressVariables.mongod]
  if (given) {
    project.provide('mongoUri', given)
    return
  }
  const { path } = await findServer('mongod', { print: console.error })
  const mongod = await startMongod({ path, folder })
  running.push(mongod)
  project.provide('mongoUri', mongod.uri)
}

async function provideTemporal(project: TestProject, folder: string, running: Running[]) {
  const given = process.env[addressVariables.temporal]
  if (given) {
    project.provide('temporalAddress', given)
    return
  }
  const { path } = await findServer('temporal', { print: console.error })
  const temporal = await startTemporalServer({ path, folder, ui: false })
  running.push(temporal)
  project.provide('temporalAddress', temporal.address)
}
