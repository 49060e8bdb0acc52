/* global db */
// The MongoDB roles of Keyturn, for mongosh. Set `records`, then run it as an administrator, with the database's name in the address:
//   mongosh "mongodb://admin@host/app?replicaSet=rs0&authSource=admin" mongodb-roles.js

/** Collections with envelopes: `collections[].name` of keyturn.yaml. */
const records = ['certificates', 'accounts']

const on = (collection, actions) => ({ resource: { db: db.getName(), collection }, actions })
const read = ['find']
const write = ['find', 'insert', 'update']
const all = ['find', 'insert', 'update', 'remove']

/** Of the keystore's collections: what workers and commands do there. */
const keystore = {
  kek_active: write,
  // Nobody changes or removes an entry.
  kek_audit: ['find', 'insert'],
  // Entries wait here until they are chained.
  kek_audit_outbox: ['find', 'insert', 'remove'],
  kek_backups: all,
  kek_install: write,
  kek_overview: write,
  kek_policy: all,
  kek_questions: all,
  kek_removals: write,
  kek_requests: write,
  kek_settings: write,
  kek_tasks: all,
  kek_uses: write,
  kek_versions: all,
  fleet_nodes: all,
  process_heartbeats: all,
  rewrap_quarantine: all,
  rewrap_shards: write,
  rotations: write,
}

/** Those that have indexes of their own beside `_id`. */
const indexed = [
  'kek_removals',
  'kek_requests',
  'kek_tasks',
  'kek_versions',
  'process_heartbeats',
  'rewrap_quarantine',
  'rewrap_shards',
  'rotations',
]

// Workers and the people who run commands. All workers of an install log in as one user: only that user may end the session
// of a worker that was replaced.
db.createRole({
  role: 'keyturn',
  roles: [],
  privileges: [
    on('', ['listCollections']),
    // createCollection and createIndex: keyturn setup, and the commands that install a first version.
    ...Object.entries(keystore).map(([name, actions]) =>
      on(name, [
        ...actions,
        'createCollection',
        ...(indexed.includes(name) ? ['createIndex'] : []),
      ]),
    ),
    // Neither insert nor remove. collMod: the validator of a removal.
    ...records.map((name) =>
      on(name, ['find', 'update', 'listIndexes', 'collMod', 'createCollection', 'createIndex']),
    ),
  ],
})

// An application with the keyring, beside its own rights on its records.
db.createRole({
  role: 'keyturnApplication',
  roles: [],
  privileges: [
    on('kek_active', read),
    on('kek_audit', read),
    on('kek_install', read),
    on('kek_questions', read),
    on('kek_settings', read),
    // Its uses of a version that is pending removal.
    on('kek_uses', ['insert', 'update']),
    // update: the count of its wraps.
    on('kek_versions', ['find', 'update']),
    on('fleet_nodes', all),
    on('process_heartbeats', all),
  ],
})
