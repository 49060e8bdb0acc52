import type { KeyPath } from './yaml-source.ts'

/** What a reader would type, by path; the nearest one above counts when a path has none of its own. */
const examples: Record<string, string> = {
  install: 'install: payments',
  mongodb: 'mongodb: { uri: "mongodb://127.0.0.1:27017/?replicaSet=rs0", database: app }',
  temporal: 'temporal: { address: "127.0.0.1:7233", namespace: default }',
  kek: 'kek: { provider: env }',
  'kek.env': 'env: { variable_prefix: KEYTURN_ENCRYPTION_ENV_KEK_V }',
  'kek.pkcs11': 'pkcs11: { module_path: /usr/lib/softhsm/libsofthsm2.so, token_label: payments }',
  'kek.pkcs11.uri':
    'uri: "pkcs11:token=payments;object=keyturn-kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/keyturn/pin"',
  'kek.pkcs11.user_type': 'user_type: crypto-user',
  'kek.pkcs11.environment': 'environment: { ChrystokiConfigurationPath: "/etc/luna" }',
  'kek.pkcs11.module_parameters': `module_parameters: "configDir='sql:/etc/keyturn/nss'"`,
  'kek.pkcs11.token_label': 'token_label: "payments"',
  'kek.pkcs11.token_serial': 'token_serial: "0123456789abcdef"',
  'kek.pkcs11.slot': 'slot: 0',
  'kek.pkcs11.pin': 'pin_file: /run/keyturn/pin',
  'kek.pkcs11.pin_file': 'pin_file: /run/keyturn/pin',
  'kek.pkcs11.pin_env': 'pin_env: KEYTURN_ENCRYPTION_PKCS11_PIN',
  'kek.pkcs11.key_label_prefix': 'key_label_prefix: keyturn-kek',
  'kek.pkcs11.max_sessions': 'max_sessions: 30',
  'kek.pkcs11.use_gcm_iv_from_hsm': 'use_gcm_iv_from_hsm: auto',
  collections: 'collections: [{ name: certificates, envelopes: [private_key] }]',
  fleet: 'fleet: { heartbeat: 30s, lease: 90s, expire: 120s, prove: 6h }',
  rewrap: 'rewrap: { page: 1000, shards: auto, check: all, max_rate: 0 }',
  removal: 'removal: { backup_window: 30d, undo_window: 24h }',
  approvals:
    'approvals: { approvers: [{ name: alice, key: "ssh-ed25519 AAAA…" }], remove: 1, expires: 72h }',
  worker: 'worker: { listen: "127.0.0.1:9464", token_file: worker.token, shutdown_grace: 10s }',
  audit: 'audit: { signing_key: audit.key, anchor_file: audit-heads.jsonl }',
  'audit.anchor_url': 'anchor_url: "https://log.example/keyturn"',
  log: 'log: { level: info, pretty: auto }',
}

export function hintFor(path: KeyPath): string {
  for (let length = path.length; length > 0; length -= 1) {
    const example = examples[path.slice(0, length).join('.')]
    if (example !== undefined) return `write for example: ${example}`
  }
  return 'docs/configuration.md describes the keys'
}
