/**
 * Every option that a MongoDB address may have, and how Keyturn treats it. An option that is not in this table is
 * refused by name. docs/configuration.md has the same table; a test compares them.
 *
 * `honoured`: used as written. `overridden`: Keyturn's own value is used, with a warning if another one is written.
 * `refused`: `config-invalid`. `limited`: used within `least` and `most`, else the nearest limit is used, with a warning.
 */
export type AddressOption =
  | { readonly treatment: 'honoured'; readonly why: string }
  | { readonly treatment: 'refused'; readonly why: string; readonly unless?: string }
  | { readonly treatment: 'overridden'; readonly by: string; readonly why: string }
  | { readonly treatment: 'limited'; readonly least: number; readonly most: number; why: string }

const honoured = (why: string): AddressOption => ({ treatment: 'honoured', why })
const overridden = (by: string, why: string): AddressOption => ({
  treatment: 'overridden',
  by,
  why,
})
const refused = (why: string, unless?: string): AddressOption => ({
  treatment: 'refused',
  why,
  ...(unless === undefined ? {} : { unless }),
})

/** Sweeps, heartbeats and steps of one process run concurrently, each on a connection. */
const leastConnections = 20

const endless = Number.MAX_SAFE_INTEGER
const login = honoured('how to log in')
const tls = honoured('how to speak TLS; needs tls=true')
const network = honoured('how to reach the servers')
const bson = overridden("Keyturn's own", 'envelopes are read and written byte by byte')
const durable = (by: string) =>
  overridden(by, 'a key or an envelope must not be lost in an election')
const timeout = (by: string) =>
  overridden(by, 'each wait has its own limit; a shorter one would end slow steps')

/** By the name in the driver's documentation. The driver ignores the case of names. */
export const addressOptions: Readonly<Record<string, AddressOption>> = {
  replicaSet: honoured('a set of another name is refused'),
  directConnection: honoured(
    'no other member is found when the primary changes: a warning says so',
  ),
  loadBalanced: refused(
    'another process must be able to end the session of a page, which a load balancer may route elsewhere',
    'false',
  ),
  srvMaxHosts: network,
  srvServiceName: network,
  proxyHost: network,
  proxyPort: network,
  proxyUsername: network,
  proxyPassword: network,
  family: network,
  autoSelectFamily: network,
  autoSelectFamilyAttemptTimeout: network,
  localThresholdMS: honoured('among routers'),
  heartbeatFrequencyMS: {
    treatment: 'limited',
    least: 500,
    most: 10_000,
    why: 'how soon a new primary is found',
  },
  serverMonitoringMode: honoured('how servers are watched'),
  appName: honoured("shown in the server's log; default keyturn"),

  authMechanism: login,
  authMechanismProperties: login,
  authSource: login,
  tls,
  ssl: honoured('the old name of tls'),
  tlsCAFile: tls,
  tlsCertificateKeyFile: tls,
  tlsCertificateKeyFilePassword: tls,
  tlsCRLFile: tls,
  tlsInsecure: tls,
  tlsAllowInvalidCertificates: tls,
  tlsAllowInvalidHostnames: tls,

  compressors: honoured(
    'none and zlib; snappy and zstd where their package is installed, else refused',
  ),
  zlibCompressionLevel: honoured('of compressors=zlib'),

  maxPoolSize: {
    treatment: 'limited',
    least: leastConnections,
    most: endless,
    why: 'concurrent work must not wait for a connection; 0 means no limit',
  },
  minPoolSize: {
    treatment: 'limited',
    least: 0,
    most: leastConnections,
    why: 'idle connections kept',
  },
  maxConnecting: { treatment: 'limited', least: 2, most: 100, why: 'connections opened at once' },
  maxIdleTimeMS: {
    treatment: 'limited',
    least: 10_000,
    most: endless,
    why: 'new connections are slow; 0 means no limit',
  },
  waitQueueTimeoutMS: timeout('10000'),
  serverSelectionTimeoutMS: timeout('15000'),
  connectTimeoutMS: timeout('5000'),
  socketTimeoutMS: timeout('0'),
  timeoutMS: timeout('none'),

  retryWrites: overridden('true', 'a command must survive an election'),
  retryReads: overridden('true', 'a command must survive an election'),
  maxAdaptiveRetries: overridden("the driver's default", 'a command must survive an election'),
  enableOverloadRetargeting: overridden("the driver's default", 'it reads from the primary'),
  readPreference: durable('primary'),
  readPreferenceTags: durable('none'),
  maxStalenessSeconds: durable('none'),
  readConcern: durable('majority'),
  readConcernLevel: durable('majority'),
  w: durable('majority'),
  journal: durable('true'),
  j: durable('true'),
  fsync: durable('none'),
  wtimeoutMS: timeout('none'),
  wtimeout: timeout('none'),

  promoteValues: bson,
  promoteLongs: bson,
  promoteBuffers: bson,
  useBigInt64: bson,
  bsonRegExp: bson,
  raw: bson,
  fieldsAsRaw: bson,
  ignoreUndefined: bson,
  serializeFunctions: bson,
  checkKeys: bson,
  enableUtf8Validation: bson,
  forceServerObjectId: bson,
  minInternalBufferSize: bson,
  monitorCommands: overridden('false', 'nothing listens'),
  noDelay: overridden('true', 'small statements are sent at once'),
}

/** Values that need no warning, since they equal the one that is used. */
export const sameAsOurs: Readonly<Record<string, readonly string[]>> = {
  readPreference: ['primary'],
  readConcernLevel: ['majority'],
  w: ['majority'],
  journal: ['true'],
  j: ['true'],
  retryWrites: ['true'],
  retryReads: ['true'],
  wtimeoutMS: ['0'],
  wtimeout: ['0'],
  socketTimeoutMS: ['0'],
  waitQueueTimeoutMS: ['10000'],
  serverSelectionTimeoutMS: ['15000'],
  connectTimeoutMS: ['5000'],
  monitorCommands: ['false'],
  noDelay: ['true'],
}
