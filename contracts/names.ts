/** Names that several processes must agree on: queues, workflow ids, collections, search attributes. */

/** One keystore. A copy and its original share the name; they share the id only until the copy is declared. */
export interface InstallIdentity {
  readonly name: string
  /** 16 random bytes in hex. */
  readonly id: string
}

export const collections = {
  install: 'kek_install',
  settings: 'kek_settings',
  versions: 'kek_versions',
  active: 'kek_active',
  nodes: 'fleet_nodes',
  heartbeats: 'process_heartbeats',
  rotations: 'rotations',
  ranges: 'rewrap_shards',
  quarantine: 'rewrap_quarantine',
  audit: 'kek_audit',
  auditOutbox: 'kek_audit_outbox',
  questions: 'kek_questions',
  removals: 'kek_removals',
  requests: 'kek_requests',
  tasks: 'kek_tasks',
  uses: 'kek_uses',
  backups: 'kek_backups',
  policy: 'kek_policy',
  overview: 'kek_overview',
} as const

export const queues = {
  control: (install: InstallIdentity) => `keyturn.${install.name}.${install.id}.control`,
  rewrap: (install: InstallIdentity) => `keyturn.${install.name}.${install.id}.rewrap`,
  node: (install: InstallIdentity, node: string) =>
    `keyturn.${install.name}.${install.id}.node.${node}`,
} as const

/** The Temporal worker deployment of a keystore's control workers. Its name must not contain '.'. */
export const deploymentName = (install: InstallIdentity) => root(install).replaceAll('.', '_')

/** A worker's identity in Temporal. `keyless` workers write no heartbeat, so only their polls show that they are alive. */
export const workerIdentity = (node: string, pid: number, holdsKeys: boolean) =>
  `keyturn/${node}/${pid}${holdsKeys ? '' : '/keyless'}`

export const workflowIds = {
  rotate: (install: InstallIdentity) => `${root(install)}/rotate`,
  install: (install: InstallIdentity, version: number) => `${root(install)}/install/v${version}`,
  verify: (install: InstallIdentity, version: number) => `${root(install)}/verify/v${version}`,
  remove: (install: InstallIdentity, version: number) => `${root(install)}/remove/v${version}`,
  range: (install: InstallIdentity, field: string, range: string) =>
    `${root(install)}/rotate/${field}/${range}`,
  /** Also the id of the Schedule. */
  policy: (install: InstallIdentity) => `${root(install)}/policy`,
} as const

export const workflowTypes = {
  install: 'installKek',
  verify: 'verifyFleet',
  rotate: 'rotateKek',
  range: 'rewrapRange',
  remove: 'removeKek',
  policy: 'scheduledRotation',
} as const

/** Search attributes that `setup` registers; all are keywords. Never a secret in them. */
export const searchAttributes = {
  install: 'KeyturnInstall',
  rotation: 'KeyturnRotation',
  phase: 'KeyturnPhase',
} as const

/** Updates, queries and signals of `rotateKek` and `removeKek`; `rotation.ts` and `removal.ts` have their types. */
export const messages = {
  pause: 'pause',
  resume: 'resume',
  resumeNow: 'resumeNow',
  cancel: 'cancel',
  setRate: 'setRate',
  hsmAvailability: 'hsmAvailability',
  undo: 'undo',
  progress: 'progress',
  ping: 'ping',
} as const

const root = ({ name, id }: InstallIdentity) => `keyturn/${name}/${id}`
