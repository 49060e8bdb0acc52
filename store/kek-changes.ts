import type { ChangeStream, Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'

/**
 * How long the server holds a request for changes if there are none, in milliseconds. The default of one second would cause
 * a request per second from each process of the fleet.
 */
const awaitMs = 60_000

/** Changes that a process must notice: another active version; a version installed, in removal or restored; a question. */
const watchedChanges: Document[] = [
  {
    $match: {
      $or: [
        { 'ns.coll': collections.active, operationType: { $in: ['insert', 'update', 'replace'] } },
        { 'ns.coll': collections.versions, operationType: { $in: ['insert', 'replace'] } },
        {
          'ns.coll': collections.questions,
          operationType: { $in: ['insert', 'update', 'replace'] },
        },
        // Without the count of wraps, which grows with every process's heartbeats.
        ...['canary', 'removal', 'destroyed_at'].map((member) => ({
          'ns.coll': collections.versions,
          [`updateDescription.updatedFields.${member}`]: { $exists: true },
        })),
      ],
    },
  },
  { $project: { _id: 1, 'ns.coll': 1 } },
]

/** A change stream over the keystore (MongoDB manual, "Change Streams"): needs the privilege `changeStream`, part of `readWrite`. */
export function watchKeystore(store: Store): ChangeStream {
  return store.db.watch(watchedChanges, { maxAwaitTimeMS: awaitMs })
}

/** The approximate number of processes with a heartbeat. */
export async function fleetSize(store: Store): Promise<number> {
  return keystore.heartbeats(store).estimatedDocumentCount()
}
