import { startReplicaSet, type ReplicaSet } from '../../devstack/replica-set.ts'
import { findServer } from '../../devstack/servers/find-server.ts'
import { startTemporalServer, type TemporalServer } from '../../devstack/temporal-server.ts'

/** The servers of a soak, which it kills and starts again on their ports and folders. */
export interface SoakServers {
  readonly set: ReplicaSet
  readonly temporalAddress: string
  /** SIGKILL. */
  killTemporal(): Promise<void>
  restartTemporal(): Promise<void>
  stop(): Promise<void>
}

/** A replica set of three and a Temporal server, everything under `folder`. */
export async function startSoakServers(
  folder: string,
  print: (line: string) => void,
): Promise<SoakServers> {
  const mongod = await findServer('mongod', { print })
  const found = await findServer('temporal', { print })
  const set = await startReplicaSet({
    path: mongod.path,
    folder,
    members: ['data', 'data', 'data'],
  })
  const start = (ports?: TemporalServer['ports']) =>
    startTemporalServer({ path: found.path, folder, ui: false, ports })
  try {
    let temporal = await start()
    return {
      set,
      temporalAddress: temporal.address,
      async killTemporal() {
        await temporal.process.kill()
      },
      async restartTemporal() {
        temporal = await start(temporal.ports)
      },
      async stop() {
        await temporal.process.kill()
        await set.stop()
      },
    }
  } catch (error) {
    await set.stop()
    throw error
  }
}
