/** Names that several processes must agree on: queues, workflow ids, collections, search attributes. */

export const collections = {
  install: 'kek_install',
  settings: 'kek_settings',
  versions: 'kek_versions',
  active: 'kek_active',
  nodes: 'fleet_nodes',
  heartbeats: 'process_heartbeats',
  rotations: 'rotations',
  shards: 'rewrap_shards',
  quarantine: 'rewrap_quarantine',
  audit: 'kek_audit',
  questions: 'kek_questions',
} as const

export const queues = {
  control: (install: string) => `keyturn.${install}.control`,
  rewrap: (install: string) => `keyturn.${install}.rewrap`,
  node: (install: string, node: string) => `keyturn.${install}.node.${node}`,
} as const

export const workflowIds = {
  rotate: (install: string) => `keyturn/${install}/rotate`,
  install: (install: string, version: number) => `keyturn/${install}/install/v${version}`,
  verify: (install: string, version: number) => `keyturn/${install}/verify/v${version}`,
  remove: (install: string, version: number) => `keyturn/${install}/remove/v${version}`,
  shard: (install: string, field: string, shard: string) =>
    `keyturn/${install}/rotate/${field}/${shard}`,
  policy: (install: string) => `keyturn/${install}/policy`,
} as const

export const workflowTypes = {
  install: 'installKek',
  verify: 'verifyFleet',
  rotate: 'rotateKek',
  shard: 'rewrapShard',
  remove: 'removeKek',
  policy: 'scheduledRotation',
} as const

/** Search attributes that `setup` registers; all are keywords. Never a secret in them. */
export const searchAttributes = {
  install: 'KeyturnInstall',
  rotation: 'KeyturnRotation',
  phase: 'KeyturnPhase',
} as const

/** Updates and queries of `rotateKek`. */
export const messages = {
  pause: 'pause',
  resume: 'resume',
  cancel: 'cancel',
  setRate: 'setRate',
  hsmNews: 'hsmNews',
  undo: 'undo',
  progress: 'progress',
} as const
