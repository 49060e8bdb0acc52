import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { startReplicaSet } from '../../devstack/replica-set.ts'
import type { MemberKind, ReplicaSet } from '../../devstack/replica-set.ts'
import { findServer } from '../../devstack/servers/find-server.ts'

/** A separate replica set for a whole file, started once; call it at the top of a describe. */
export function replicaSet(
  members: readonly MemberKind[],
  options: { links?: boolean } = {},
): () => ReplicaSet {
  let set: ReplicaSet | null = null
  let folder: string | null = null
  beforeAll(async () => {
    const { path } = await findServer('mongod', { print: console.error })
    folder = await mkdtemp(join(process.cwd(), '.keyturn', 'set-'))
    set = await startReplicaSet({ path, folder, members, ...options })
  })
  afterAll(async () => {
    await set?.stop()
    if (folder !== null) await rm(folder, { recursive: true, force: true })
  })
  return () => {
    if (set === null) throw new Error('the replica set has not started')
    return set
  }
}
