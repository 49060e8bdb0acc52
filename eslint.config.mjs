import js from '@eslint/js'
import tseslint from 'typescript-eslint'

/**
 * The import table of the house: which room may import which. `types` are rooms that may be imported for their
 * types only, `packages` are the packages a room must never see. The layout is the architecture, so this is a lint error.
 */
const rooms = [
  'contracts',
  'envelope',
  'config',
  'observability',
  'providers',
  'store',
  'protocol',
  'sweep',
  'keyring',
  'activities',
  'workflows',
  'client',
  'cli',
  'workers',
  'devstack',
  'bench',
]
const temporal = ['@temporalio/*']
const nodeBuiltins = ['node:*']
const table = {
  contracts: { may: [], never: ['*'] },
  envelope: { may: ['contracts'], never: temporal },
  config: { may: ['contracts'], never: ['@temporalio/worker', '@temporalio/client', 'mongodb'] },
  observability: { may: ['contracts'], never: ['mongodb', 'pkcs11js'] },
  protocol: { may: ['contracts'], never: ['*'] },
  providers: { may: ['contracts', 'envelope', 'observability'], never: [...temporal, 'mongodb'] },
  store: { may: ['contracts', 'envelope', 'observability'], never: [...temporal, 'pkcs11js'] },
  sweep: {
    may: ['contracts', 'envelope', 'protocol', 'providers', 'store', 'observability'],
    never: temporal,
  },
  keyring: {
    may: ['contracts', 'config', 'envelope', 'protocol', 'providers', 'store', 'observability'],
    never: temporal,
  },
  activities: {
    may: [
      'contracts',
      'envelope',
      'protocol',
      'sweep',
      'providers',
      'store',
      'keyring',
      'observability',
    ],
    never: ['@temporalio/client', '@temporalio/worker', '@temporalio/workflow'],
  },
  workflows: {
    may: ['contracts', 'protocol'],
    types: ['activities'],
    never: [
      ...nodeBuiltins,
      'mongodb',
      'pkcs11js',
      'pino',
      'zod',
      '@temporalio/client',
      '@temporalio/worker',
      '@temporalio/activity',
    ],
  },
  client: {
    may: ['contracts', 'config', 'protocol', 'store'],
    types: ['workflows'],
    never: ['pkcs11js', '@temporalio/worker', '@temporalio/activity', '@temporalio/workflow'],
  },
  cli: {
    may: ['client', 'config', 'contracts', 'observability'],
    never: ['@temporalio/*', 'mongodb', 'pkcs11js'],
  },
  workers: {
    may: rooms.filter((room) => !['cli', 'client', 'devstack', 'bench'].includes(room)),
    never: [],
  },
  devstack: { may: rooms, never: [] },
  bench: { may: rooms, never: [] },
}

/** Commands that the table lets into more rooms than the rest of `cli/`. */
const exceptions = [
  { files: ['cli/local-provider.ts'], may: ['keyring', 'providers', 'envelope'] },
  {
    files: ['cli/commands/doctor.ts', 'cli/doctor/layout-checks.ts', 'cli/commands/pkcs11-init.ts'],
    may: ['providers', 'envelope'],
  },
  { files: ['cli/timed-envelopes.ts'], may: ['sweep'] },
  { files: ['cli/commands/scan.ts'], may: ['sweep', 'providers', 'envelope'] },
  { files: ['cli/commands/worker.ts'], may: ['workers'] },
  { files: ['cli/commands/dev.ts', 'cli/commands/demo.ts'], may: ['devstack'] },
]

function importRule({ may, types = [], never }, room, extra = [], sides = []) {
  const allowed = new Set([room, ...may, ...extra])
  const forbidden = rooms.filter((other) => !allowed.has(other))
  const say = (other) =>
    `${room}/ must not import ${other}/ (see the import table in eslint.config.mjs)`
  const patterns = forbidden.map((other) => ({
    regex: `^(\\.\\./)+${other}/`,
    message: say(other),
    ...(types.includes(other) ? { allowTypeImports: true } : {}),
  }))
  for (const side of sides) {
    patterns.push({
      regex: `^\\.{1,2}/${side}/`,
      message: `this side of providers/pkcs11/ must not import ${side}/: both sides share only wire/`,
    })
  }
  if (never.length > 0) {
    patterns.push({
      // '*': every package, and Node's own modules.
      ...(never.includes('*') ? { regex: '^[^.]' } : { group: never }),
      message: `${room}/ must not import this package (see the import table in eslint.config.mjs)`,
    })
  }
  return { '@typescript-eslint/no-restricted-imports': ['error', { patterns }] }
}

/** The one package in `protocol/`: time zones. The workflow bundle must not contain it, so workflows must not import it. */
const timeZones = {
  files: ['protocol/local-time.ts'],
  rules: importRule({ may: ['contracts'], never: [...temporal, ...nodeBuiltins] }, 'protocol'),
}

/** `providers/pkcs11/` lies over a process boundary: `pool/` and `probe/` are the parent, `lane/` the child. */
const pkcs11Sides = [
  { files: ['providers/pkcs11/*.ts', 'providers/pkcs11/{pool,probe}/**/*.ts'], never: ['lane'] },
  { files: ['providers/pkcs11/lane/**/*.ts'], never: ['pool', 'probe'] },
  { files: ['providers/pkcs11/{wire,vendors}/**/*.ts'], never: ['pool', 'probe', 'lane'] },
]

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.keyturn/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      'max-lines': ['error', 400],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  ...Object.entries(table).map(([room, rule]) => ({
    files: [`${room}/**/*.ts`],
    rules: importRule(rule, room),
  })),
  timeZones,
  ...pkcs11Sides.map(({ files, never }) => ({
    files,
    rules: importRule(table.providers, 'providers', [], never),
  })),
  ...exceptions.map(({ files, may }) => ({ files, rules: importRule(table.cli, 'cli', may) })),
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      // A step that a test plays answers a promise like the real one.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
)
