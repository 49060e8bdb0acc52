import { z } from 'zod'
import { approvalsSection } from './approvals-schema.ts'
import { collectionList } from './collections-schema.ts'
import { duration } from './duration-schema.ts'
import { formatDuration } from './duration.ts'
import { pkcs11Section } from './pkcs11-schema.ts'
import { isTemporalAddress, notAnAddress } from './temporal-address.ts'

/**
 * The schema of `keyturn.yaml` (docs/configuration.md). Messages are predicates of their key; the refused value is added to
 * those that begin with "must". Unknown keys are errors everywhere.
 */

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const maxTimer = 2 ** 31 - 1
export const maxPage = 5000

const section = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, 'must be a section')

const text = (message = 'must be a text') => z.string(message).min(1, 'must not be empty')

const count = (least: number, most: number, message: string) =>
  z.int(message).min(least, message).max(most, message)

/** Used in the names of queues and workflows (contracts/names.ts): a part `node` would let two installs share a queue. */
const installName = text()
  .max(64, 'must have at most 64 characters')
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    'must be of letters, digits, ".", "_" and "-", the first a letter or digit',
  )
  .refine((name) => !name.split('.').includes('node'), 'must not have a part named "node"')

const fleet = section({
  heartbeat: duration.prefault('30s'),
  lease: duration.prefault('90s'),
  expire: duration.prefault('120s'),
  prove: duration.prefault('6h'),
})
  .superRefine(({ heartbeat, lease, expire, prove }, context) => {
    const refuse = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message })
    const [beats, leased, expires] = [heartbeat, lease, expire].map(formatDuration)
    if (heartbeat < 1 || heartbeat > maxTimer) refuse('heartbeat', 'must be from 1ms to 24d')
    if (heartbeat * 2 > lease) {
      refuse('lease', `is ${leased}: it must be at least two heartbeats of ${beats}`)
    }
    if (lease >= expire) {
      refuse('expire', `is ${expires}: it must be longer than the lease of ${leased}`)
    }
    if (prove < 1 || prove > maxTimer) refuse('prove', 'must be from 1ms to 24d')
  })
  .prefault({})

const rewrap = section({
  page: count(1, maxPage, `must be a number from 1 to ${maxPage}`).default(1000),
  shards: z
    .unknown()
    .refine(isRanges, 'must be "auto" or a number from 1 to 1000')
    .transform((shards) => shards as number | 'auto')
    .prefault('auto'),
  check: z.enum(['all', 'sampled', 'none'], 'must be "all", "sampled" or "none"').default('all'),
  max_rate: count(0, 1e9, 'must be a number of envelopes a second, 0 for no limit').default(0),
}).prefault({})

const removal = section({
  backup_window: duration.prefault('30d'),
  undo_window: duration.prefault('24h'),
}).prefault({})

const worker = section({
  listen: text()
    .refine(isListenAddress, 'must be an address such as "127.0.0.1:9464"')
    .default('127.0.0.1:9464'),
  token_file: text().optional(),
  shutdown_grace: duration.prefault('10s'),
}).prefault({})

const audit = section({
  signing_key: text().optional(),
  anchor_file: text().optional(),
  anchor_url: text()
    .refine(isAnchorUrl, 'is neither https:// nor http:// of this host itself')
    .refine(isWithoutLogin, 'has a user or password in it, which is not supported')
    .optional(),
}).prefault({})

const log = section({
  level: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  pretty: z.literal(['auto', true, false], 'must be "auto", true or false').default('auto'),
}).prefault({})

const kek = section({
  provider: z.enum(['env', 'pkcs11'], 'must be "env" or "pkcs11"'),
  env: section({
    variable_prefix: text()
      .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the beginning of a variable name')
      .default('KEYTURN_ENCRYPTION_ENV_KEK_V'),
  }).prefault({}),
  pkcs11: pkcs11Section.optional(),
}).superRefine(({ provider, pkcs11 }, context) => {
  if (provider === 'pkcs11' && pkcs11 === undefined) {
    context.addIssue({ code: 'custom', path: ['pkcs11'], message: 'is missing' })
  }
})

export const configSchema = z.strictObject(
  {
    install: installName,
    mongodb: section({
      uri: text().refine(isMongoUri, 'must begin with mongodb:// or mongodb+srv://').optional(),
      database: text()
        .max(63, 'must have at most 63 characters')
        .regex(/^[^/\\. "$*<>:|?\0]+$/, 'must be a name that MongoDB allows for a database'),
    }),
    temporal: section({
      address: text().refine(isTemporalAddress, notAnAddress).optional(),
      namespace: text().optional(),
    }).prefault({}),
    kek,
    collections: collectionList,
    fleet,
    rewrap,
    removal,
    approvals: approvalsSection,
    worker,
    audit,
    log,
  },
  'must be a map of sections',
)

export type WrittenConfig = z.output<typeof configSchema>

/** The part that `pkcs11-init --probe-only` needs; the rest of the file is ignored. */
export const pkcs11OnlySchema = z.object({
  install: installName.optional(),
  kek: z.object({ pkcs11: pkcs11Section }),
})

export function isMongoUri(uri: string): boolean {
  return /^mongodb(\+srv)?:\/\/./.test(uri)
}

function isAnchorUrl(value: string): boolean {
  const url = URL.canParse(value) ? new URL(value) : null
  if (url?.protocol === 'https:') return true
  return url?.protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)
}

function isWithoutLogin(value: string): boolean {
  const { username, password } = URL.canParse(value)
    ? new URL(value)
    : { username: '', password: '' }
  return username === '' && password === ''
}

function isRanges(value: unknown): boolean {
  return (
    value === 'auto' || (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 1000)
  )
}

function isListenAddress(value: string): boolean {
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[^\s:[\]]*):(\d{1,5})$/.exec(value) ?? []
  return port !== undefined && Number(port) <= 65_535
}
