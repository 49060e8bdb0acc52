import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import type { ProviderName } from '../contracts/kek.ts'
import type { SoftToken } from './soft-token.ts'

/** Settings of a stack's `keyturn.yaml` besides addresses and keys; durations as a person writes them. */
export interface StackSettings {
  readonly install: string
  readonly database: string
  readonly collections: readonly { name: string; envelopes: readonly string[] }[]
  readonly fleet: { heartbeat: string; lease: string; expire: string }
  readonly rewrap?: {
    page?: number
    shards?: number | 'auto'
    check?: 'all' | 'sampled' | 'none'
    max_rate?: number
  }
  /** Merged over the settings of the token. */
  readonly pkcs11?: { module_path?: string; max_sessions?: number }
  readonly removal?: { backup_window?: string; undo_window?: string }
  /** Of each process's log. */
  readonly logLevel?: string
}

/** Short times, so that a rotation on a developer's machine does not wait for the defaults. */
export const quickSettings: StackSettings = {
  install: 'demo',
  database: 'demo',
  collections: [
    { name: 'certificates', envelopes: ['private_key'] },
    { name: 'dns_accounts', envelopes: ['secrets.api_token'] },
  ],
  fleet: { heartbeat: '2s', lease: '6s', expire: '10s' },
  removal: { backup_window: '0s', undo_window: '0s' },
}

export interface ConfigParts {
  readonly settings: StackSettings
  readonly provider: ProviderName
  readonly token: SoftToken | null
  readonly mongoUri: string
  readonly temporalAddress: string
  /** Port of this node's health page; null lets the product's default stand. */
  readonly listenPort: number | null
}

/** Writes `<name>.yaml` into the folder (mode 0600: an address may hold a password); answers with its path. */
export async function writeConfig(
  folder: string,
  name: string,
  parts: ConfigParts,
): Promise<string> {
  const file = join(folder, `${name}.yaml`)
  await writeFile(file, stringify(documentOf(parts)), { mode: 0o600 })
  return file
}

function documentOf({ settings, provider, token, listenPort, ...parts }: ConfigParts): object {
  const { install, database, collections, fleet, rewrap, removal, logLevel } = settings
  return {
    install,
    mongodb: { uri: parts.mongoUri, database },
    temporal: { address: parts.temporalAddress },
    kek: {
      provider,
      ...(token === null
        ? {}
        : {
            pkcs11: {
              module_path: token.modulePath,
              token_label: token.label,
              pin_file: token.pinFile,
              // A soft token runs on this machine's cores: more sessions would only cost memory.
              max_sessions: 4,
              ...settings.pkcs11,
            },
          }),
    },
    collections,
    fleet,
    ...(rewrap === undefined ? {} : { rewrap }),
    ...(removal === undefined ? {} : { removal }),
    ...(listenPort === null ? {} : { worker: { listen: `127.0.0.1:${listenPort.toString()}` } }),
    log: { level: logLevel ?? 'info', pretty: false },
  }
}
