import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { stringify } from 'yaml'
import { WarmCli } from '../support/warm-cli.ts'

const help = 'hint: keyturn --help lists the commands, keyturn COMMAND --help explains one\n'

/** A configuration file whose servers do not exist. */
async function configFile(provider: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-usage-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'keyturn.yaml')
  const config = {
    install: 'payments',
    temporal: { address: '127.0.0.1:1' },
    mongodb: { uri: 'mongodb://127.0.0.1:1/', database: 'app' },
    kek: { provider, pkcs11: { module_path: '/usr/lib/none.so', token_label: 'payments' } },
    collections: [{ name: 'certificates', envelopes: ['private_key'] }],
  }
  await writeFile(file, stringify(config))
  return file
}

describe('the command line', () => {
  const warm = new WarmCli({})
  afterAll(() => warm.close())
  const keyturn = (...args: string[]) => warm.run(args)

  test.each([
    [['frobnicate'], 'error: unknown command "frobnicate"\n' + help],
    [['statsu'], 'error: unknown command "statsu"\nhint: did you mean status?\n'],
    [['rotate'], 'error: required option "--to-version <n>" not specified\n' + help],
    [['rotate', '--to-version'], 'error: option "--to-version <n>" argument missing\n' + help],
    [
      ['rotate', '--to-version', '2', '--to-version', '3'],
      'error: option "--to-version <n>" is given twice\n' + help,
    ],
    [
      ['rotate', '--max-rate=1', '--to-version=2', '--max-rate=1'],
      'error: option "--max-rate <n>" is given twice\n' + help,
    ],
    [
      ['policy', 'set', '--every', '90d', '--every', '30d'],
      'error: option "--every <duration>" is given twice\n' + help,
    ],
    [
      ['--config', 'a.yaml', 'status', '--config', 'b.yaml'],
      'error: option "--config <file>" is given twice\n' + help,
    ],
    [
      ['status', '--config=a.yaml', '--config=a.yaml'],
      'error: option "--config <file>" is given twice\n' + help,
    ],
    [['status', '--wat'], 'error: unknown option "--wat"\nhint: did you mean --watch?\n'],
    [
      ['pause', 'now'],
      'error: too many arguments for "pause", expected 0 arguments but got 1\n' + help,
    ],
    [['rate'], 'error: missing required argument "n"\n' + help],
    [
      ['verify', '--target', 'two'],
      'error: a version is a whole number from 1, not "two"\n' +
        'hint: keyturn status lists the versions that are there\n',
    ],
    [
      ['rotate', '--to-version', '2147483648'],
      'error: a version is a whole number from 1, not "2147483648"\n' +
        'hint: keyturn status lists the versions that are there\n',
    ],
    [
      ['rotate', '--to-version', '2', '--max-rate', 'fast'],
      'error: a limit is a whole number from 0, not "fast"\nhint: 0 means no limit\n',
    ],
    [
      ['remove', '--version', '1', '--undo', '--dry-run'],
      'error: --undo and --dry-run exclude each other\n' +
        'hint: keyturn remove --version N --undo undoes the whole request\n',
    ],
    [
      ['setup', '--copy', '--restored'],
      'error: --moved, --copy and --restored exclude each other\n',
    ],
    [['setup', '--confirm', 'app'], 'error: --confirm belongs to --moved, --copy or --restored\n'],
    [
      ['policy', 'set', '--every', 'monthly'],
      'error: a duration is written as 30s, 24h or 90d, not "monthly"\n' +
        'hint: a whole number and a unit: ms, s, m, h, d or w\n',
    ],
    [
      ['policy', 'set', '--every', '90'],
      'error: a duration is written as 30s, 24h or 90d, not "90"\n' +
        'hint: did you mean 90d? units are ms, s, m, h, d and w\n',
    ],
    [
      ['rotate', '--to-verson', '2'],
      'error: unknown option "--to-verson"\nhint: did you mean --to-version?\n',
    ],
    [
      ['policy', 'set', '--evry', '90d'],
      'error: unknown option "--evry"\nhint: did you mean --every?\n',
    ],
    [['zzz', '--help'], 'error: unknown command "zzz"\n' + help],
    [['statsu', '--help'], 'error: unknown command "statsu"\nhint: did you mean status?\n'],
    [['help', 'statsu'], 'error: unknown command "statsu"\nhint: did you mean status?\n'],
    [['--json', 'statsu', '-h'], 'error: unknown command "statsu"\nhint: did you mean status?\n'],
    [['policy', 'sett', '--help'], 'error: unknown command "sett"\nhint: did you mean set?\n'],
    [['kek', 'rate'], 'error: missing required argument "n"\n' + help],
    [['pkcs11-register'], 'error: required option "--version <n>" not specified\n' + help],
    [
      ['pkcs11-register', '--version', '1', '--label', ''],
      'error: a label must not be empty\nhint: leave --label out for <key_label_prefix>-v<n>\n',
    ],
    [
      ['pkcs11-register', '--version', '1', '--id', '0x1'],
      'error: an id is written in hexadecimal digits, two a byte, not "0x1"\n' +
        'hint: pkcs11-tool -O shows it as "ID:", for example 0a1b\n',
    ],
    [
      ['pkcs11-init'],
      'error: required option "--version <n>" not specified\nhint: for example: keyturn pkcs11-init --version 1\n',
    ],
  ])('answers %j with error, hint and exit code 2', async (args, stderr) => {
    const answer = await keyturn(...args)
    if (args.includes('--json')) answer.stdout = ''
    expect(answer).toMatchObject({ code: 2, stdout: '', stderr })
  })

  test.each([
    ['env', ['kek', 'rotate', '--from-version=1', '--to-version=1'], 'versions-equal'],
    ['env', ['rotate', '--from-version', '1', '--to-version', '1', '--dry-run'], 'versions-equal'],
    ['env', ['pkcs11-init', '--version', '1'], 'config-invalid'],
    ['env', ['pkcs11-register', '--version', '1'], 'config-invalid'],
    ['pkcs11', ['env-init', '--version', '1'], 'config-invalid'],
  ])(
    'with provider %s, %j is a usage error, found without any server',
    async (provider, args, code) => {
      const file = await configFile(provider)
      const answer = await keyturn(...args, `--config=${file}`, '--json')
      expect(answer.code).toBe(2)
      expect(JSON.parse(answer.stdout)).toMatchObject({ error: { code } })
    },
  )

  test('with --json a usage error is one document on stdout, and also two lines on stderr', async () => {
    const { code, stdout, stderr } = await keyturn('env-init', '--json', '--version', '-1')
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({
      error: {
        code: 'version-invalid',
        message: 'a version is a whole number from 1, not "-1"',
      },
    })
    expect(stderr).toMatch(/^error: a version is/)
  })

  test('--version directly after keyturn is the command version, elsewhere it is an option', async () => {
    const { stdout } = await keyturn('--version')
    expect(stdout).toMatch(/^keyturn \d+\.\d+\.\d+ \(node 2\d\./)
    expect(JSON.parse((await keyturn('version', '--json')).stdout)).toHaveProperty('version')
    const init = await keyturn('pkcs11-init', '--version', '2')
    expect(init.stdout).toBe('')
    expect(init.stderr).toMatch(/^error: .*\nhint: /)
  })

  test('a group without a command is a usage error', async () => {
    const { code, stderr } = await keyturn('audit')
    expect(code).toBe(2)
    expect(stderr).toContain('error: a command is missing')
  })

  test('the help of every command has an example', async () => {
    const { stdout } = await keyturn('--help')
    const names = [...stdout.matchAll(/^ {2}([a-z][a-z0-9-]+)/gm)].map(([, name]) => name!)
    expect(names.length).toBeGreaterThan(18)
    for (const name of names.filter((name) => name !== 'help')) {
      const { code, stdout } = await keyturn(name, '--help')
      expect(code).toBe(0)
      expect(stdout).toContain('Example: ')
    }
  })
})
