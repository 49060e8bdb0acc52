import type { Collection } from 'mongodb'
import { collections } from '../contracts/names.ts'
import type { ApprovalRequestDoc } from './approval-document.ts'
import type {
  ActiveDoc,
  AuditDoc,
  AuditOutboxDoc,
  BackupDoc,
  HeartbeatDoc,
  InstallDoc,
  NodeDoc,
  QuarantineDoc,
  QuestionDoc,
  RemovalRequestDoc,
  RotationDoc,
  SettingsDoc,
  RangeDoc,
  TaskDoc,
  VersionDoc,
} from './documents.ts'
import type { PolicyDoc } from './policy-document.ts'
import type { OverviewDoc } from './overview-document.ts'
import { checked, wellFormed } from './own-documents.ts'
import type { Store } from './store.ts'

/**
 * The keystore's collections with the types of their documents. Collections that applications write too (heartbeats, roster),
 * those with ids or bounds of any BSON type (ranges, quarantine), the audit and the overview have readers with their own checks.
 */
export const keystore = {
  install: (store: Store): Collection<InstallDoc> =>
    checked(store.db.collection(collections.install), wellFormed.install),
  settings: (store: Store): Collection<SettingsDoc> =>
    checked(store.db.collection(collections.settings), wellFormed.settings),
  versions: (store: Store): Collection<VersionDoc> =>
    checked(store.db.collection(collections.versions), wellFormed.version),
  active: (store: Store): Collection<ActiveDoc> =>
    checked(store.db.collection(collections.active), wellFormed.active),
  nodes: (store: Store): Collection<NodeDoc> => store.db.collection(collections.nodes),
  heartbeats: (store: Store): Collection<HeartbeatDoc> =>
    store.db.collection(collections.heartbeats),
  rotations: (store: Store): Collection<RotationDoc> =>
    checked(store.db.collection(collections.rotations), wellFormed.rotation),
  ranges: (store: Store): Collection<RangeDoc> => store.db.collection(collections.ranges),
  quarantine: (store: Store): Collection<QuarantineDoc> =>
    store.db.collection(collections.quarantine),
  removals: (store: Store): Collection<RemovalRequestDoc> =>
    checked(store.db.collection(collections.removals), wellFormed.removal),
  backups: (store: Store): Collection<BackupDoc> =>
    checked(store.db.collection(collections.backups), wellFormed.backup),
  requests: (store: Store): Collection<ApprovalRequestDoc> =>
    checked(store.db.collection(collections.requests), wellFormed.request),
  overview: (store: Store): Collection<OverviewDoc> => store.db.collection(collections.overview),
  tasks: (store: Store): Collection<TaskDoc> => store.db.collection(collections.tasks),
  policy: (store: Store): Collection<PolicyDoc> =>
    checked(store.db.collection(collections.policy), wellFormed.policy),
  questions: (store: Store): Collection<QuestionDoc> =>
    checked(store.db.collection(collections.questions), wellFormed.question),
  audit: (store: Store): Collection<AuditDoc> => store.db.collection(collections.audit),
  auditOutbox: (store: Store): Collection<AuditOutboxDoc> =>
    store.db.collection(collections.auditOutbox),
}
