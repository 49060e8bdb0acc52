import type { Collection } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type {
  ActiveDoc,
  AuditDoc,
  HeartbeatDoc,
  InstallDoc,
  NodeDoc,
  QuarantineDoc,
  QuestionDoc,
  RemovalRequestDoc,
  RotationDoc,
  SettingsDoc,
  ShardDoc,
  TaskDoc,
  VersionDoc,
} from './documents.ts'
import type { Store } from './store.ts'

/** The keystore's collections with the types of their documents. */
export const keystore = {
  install: (store: Store): Collection<InstallDoc> => store.db.collection(collections.install),
  settings: (store: Store): Collection<SettingsDoc> => store.db.collection(collections.settings),
  versions: (store: Store): Collection<VersionDoc> => store.db.collection(collections.versions),
  active: (store: Store): Collection<ActiveDoc> => store.db.collection(collections.active),
  nodes: (store: Store): Collection<NodeDoc> => store.db.collection(collections.nodes),
  heartbeats: (store: Store): Collection<HeartbeatDoc> =>
    store.db.collection(collections.heartbeats),
  rotations: (store: Store): Collection<RotationDoc> => store.db.collection(collections.rotations),
  shards: (store: Store): Collection<ShardDoc> => store.db.collection(collections.shards),
  quarantine: (store: Store): Collection<QuarantineDoc> =>
    store.db.collection(collections.quarantine),
  removals: (store: Store): Collection<RemovalRequestDoc> =>
    store.db.collection(collections.removals),
  tasks: (store: Store): Collection<TaskDoc> => store.db.collection(collections.tasks),
  questions: (store: Store): Collection<QuestionDoc> => store.db.collection(collections.questions),
  audit: (store: Store): Collection<AuditDoc> => store.db.collection(collections.audit),
}
