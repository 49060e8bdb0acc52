import path from 'node:path'
import type { z } from 'zod'
import { KeyturnError } from '../contracts/errors.ts'
import type {
  AuditConfig,
  Config,
  KekConfig,
  Pkcs11Config,
  WorkerConfig,
} from '../contracts/settings.ts'
import { approvalRules } from './approvals-schema.ts'
import { explain } from './explain.ts'
import { readConfigFile } from './find-file.ts'
import type { LookUp } from './find-file.ts'
import { deepFreeze } from './freeze.ts'
import { parsePkcs11Uri, type Pkcs11Uri } from './pkcs11-uri.ts'
import type { WrittenPkcs11 } from './pkcs11-schema.ts'
import { configSchema, isMongoUri, pkcs11OnlySchema } from './schema.ts'
import type { WrittenConfig } from './schema.ts'
import { parseYaml } from './yaml-source.ts'

const uriVariable = 'KEYTURN_MONGODB_URI'

/**
 * Reads `keyturn.yaml` (docs/configuration.md) into one frozen object, durations in milliseconds, every default filled in.
 * Throws `config-missing`, `config-unknown-key`, `config-invalid` or `variable-missing`, before any connection is opened.
 */
export function loadConfig(options: LookUp = {}): Config {
  const { file, written } = load(options, configSchema)
  const { fleet, rewrap, removal, worker } = written
  return deepFreeze<Config>({
    file,
    install: written.install,
    mongodb: {
      uri: mongoUri(file, written, options.env ?? process.env),
      database: written.mongodb.database,
    },
    temporal: definedOnly(written.temporal),
    kek: kekConfig(file, written.kek),
    collections: written.collections,
    fleet: {
      heartbeatMs: fleet.heartbeat,
      leaseMs: fleet.lease,
      expireMs: fleet.expire,
      proveMs: fleet.prove,
    },
    rewrap: {
      page: rewrap.page,
      shards: rewrap.shards,
      check: rewrap.check,
      maxRate: rewrap.max_rate,
    },
    removal: {
      backupWindowMs: removal.backup_window,
      undoWindowMs: removal.undo_window,
    },
    approvals: approvalRules(written.approvals),
    worker: workerConfig(file, worker),
    audit: auditConfig(file, written.audit),
    log: written.log,
  })
}

/**
 * For `pkcs11-init --probe-only`, which needs only `kek.pkcs11`; the rest of the file is ignored. Throws like `loadConfig`.
 */
export function loadPkcs11Config(options: LookUp = {}): {
  install: string | null
  file: string
  pkcs11: Pkcs11Config
} {
  const { file, written } = load(options, pkcs11OnlySchema)
  return deepFreeze({
    install: written.install ?? null,
    file,
    pkcs11: pkcs11Config(file, written.kek.pkcs11),
  })
}

function load<S extends z.ZodType>(options: LookUp, schema: S) {
  const { file, text } = readConfigFile(options)
  const source = parseYaml(file, text)
  const parsed = schema.safeParse(source.value ?? {})
  if (!parsed.success) throw explain(source, schema, parsed.error)
  return { file, written: parsed.data }
}

/** The variable wins over the file, so that the file needs no password; an empty one counts as unset. */
function mongoUri(file: string, written: WrittenConfig, env: NodeJS.ProcessEnv): string {
  const fromVariable = env[uriVariable] ?? ''
  if (fromVariable !== '' && !isMongoUri(fromVariable)) {
    throw new KeyturnError(
      'config-invalid',
      `variable "${uriVariable}" must begin with mongodb:// or mongodb+srv://`,
      { hint: `write for example: ${uriVariable}=mongodb://127.0.0.1:27017/?replicaSet=rs0` },
    )
  }
  const uri = fromVariable || written.mongodb.uri
  if (uri === undefined) {
    throw new KeyturnError(
      'variable-missing',
      `no address of MongoDB: "${uriVariable}" is not set, and "${file}" has no "mongodb.uri"`,
      { hint: `set ${uriVariable}, or mongodb.uri in the file` },
    )
  }
  return uri
}

/** With the `env` provider, `kek.pkcs11` is validated and then dropped. */
function kekConfig(file: string, kek: WrittenConfig['kek']): KekConfig {
  const common = { provider: kek.provider, env: { variablePrefix: kek.env.variable_prefix } }
  if (kek.provider === 'env' || kek.pkcs11 === undefined) return common
  return { ...common, pkcs11: pkcs11Config(file, kek.pkcs11) }
}

/** A relative `pin_file` starts at the folder of keyturn.yaml; `module_path` goes to the dynamic linker unchanged. */
function pkcs11Config(file: string, written: WrittenPkcs11): Pkcs11Config {
  const { module_parameters: moduleParameters, environment } = written
  const uri = uriOf(written)
  const pinFile = uri?.pinFile ?? written.pin_file
  const pin = uri?.pin ?? written.pin
  return {
    modulePath: uri?.modulePath ?? written.module_path ?? missingAfterCheck('module'),
    ...(moduleParameters === undefined ? {} : { moduleParameters }),
    token: uri?.token ?? tokenOf(written),
    ...(written.user_type === 'user' ? {} : { userType: written.user_type }),
    ...(Object.keys(environment).length === 0 ? {} : { environment }),
    ...(pinFile === undefined ? {} : { pinFile: path.resolve(path.dirname(file), pinFile) }),
    ...(pin === undefined ? {} : { pin }),
    pinEnv: written.pin_env,
    keyLabelPrefix: uri?.keyLabelPrefix ?? written.key_label_prefix ?? 'keyturn-kek',
    maxSessions: written.max_sessions,
    useGcmIvFromHsm: written.use_gcm_iv_from_hsm,
  }
}

/** A relative `token_file` starts at the folder of keyturn.yaml. */
function workerConfig(file: string, written: WrittenConfig['worker']): WorkerConfig {
  const { listen, token_file: tokenFile, shutdown_grace: shutdownGraceMs } = written
  if (tokenFile === undefined) return { listen, shutdownGraceMs }
  return { listen, tokenFile: path.resolve(path.dirname(file), tokenFile), shutdownGraceMs }
}

/** Relative paths start at the folder of keyturn.yaml. */
function auditConfig(file: string, written: WrittenConfig['audit']): AuditConfig {
  const { signing_key: signingKey, anchor_file: anchorFile, anchor_url: anchorUrl } = written
  const beside = (name: string) => path.resolve(path.dirname(file), name)
  return {
    ...(signingKey === undefined ? {} : { signingKey: beside(signingKey) }),
    ...(anchorFile === undefined ? {} : { anchorFile: beside(anchorFile) }),
    ...(anchorUrl === undefined ? {} : { anchorUrl }),
  }
}

function uriOf({ uri }: WrittenPkcs11): Pkcs11Uri | null {
  const parsed = uri === undefined ? null : parsePkcs11Uri(uri)
  return parsed !== null && 'refusal' in parsed ? missingAfterCheck('URI') : parsed
}

function tokenOf(written: WrittenPkcs11): Pkcs11Config['token'] {
  if (written.token_label !== undefined) return { label: written.token_label }
  if (written.token_serial !== undefined) return { serial: written.token_serial }
  if (written.slot !== undefined) return { slot: written.slot }
  return missingAfterCheck('token')
}

function missingAfterCheck(what: string): never {
  throw new Error(`the schema accepted a section without a ${what}`)
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function definedOnly<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== undefined),
  ) as Defined<T>
}
