import type { ChangeStream, Document } from 'mongodb'
import { collections } from '../contracts/names.ts'
import { keystore } from './keystore.ts'
import type { Store } from './store.ts'

/**
 * How long the server holds a question for changes when there are none, in milliseconds. The default of one second would
 * be a request a second from each process of the fleet.
 */
const awaitMs = 60_000

/** What a process must hear of: another active version, a version that was installed, asked to go, or taken back, a question. */
const news: Document[] = [
  {
    $match: {
      $or: [
        { 'ns.coll': collections.active, operationType: { $in: ['insert', 'update', 'replace'] } },
        { 'ns.coll': collections.versions, operationType: { $in: ['insert', 'replace'] } },
        {
          'ns.coll': collections.questions,
          operationType: { $in: ['insert', 'update', 'replace'] },
        },
        // Not the count of wraps, which grows with each heartbeat of somebody.
        ...['canary', 'removal', 'destroyed_at'].map((member) => ({
          'ns.coll': collections.versions,
          [`updateDescription.updatedFields.${member}`]: { $exists: true },
        })),
      ],
    },
  },
  { $project: { _id: 1, 'ns.coll': 1 } },
]

/** A change stream over the keystore (MongoDB manual, "Change Streams"): needs the right `changeStream`, of `readWrite`. */
export function watchKeystore(store: Store): ChangeStream {
  return store.db.watch(news, { maxAwaitTimeMS: awaitMs })
}

/** About how many processes beat now. */
export async function fleetSize(store: Store): Promise<number> {
  return keystore.heartbeats(store).estimatedDocumentCount()
}
