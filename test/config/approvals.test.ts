import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { readApprovalKey } from '../../config/approval-key.ts'
import { parseApproverKey } from '../../config/approver-key.ts'
import { isSignedBy } from '../../store/approval-signatures.ts'
import { keyFingerprint } from '../../store/key-fingerprint.ts'
import { approverKey } from '../support/approvers.ts'
import { fault, freshFolder, least, load } from './files.ts'

const [alice, bob, eve] = ['alice', 'bob', 'eve'].map((name) => approverKey(name)) as [
  ReturnType<typeof approverKey>,
  ReturnType<typeof approverKey>,
  ReturnType<typeof approverKey>,
]
const approver = (name: string, key: string) => `{ name: "${name}", key: ${JSON.stringify(key)} }`
const found = (approvals: string) => fault(() => load(`${least}approvals: { ${approvals} }\n`))
const two = `approvers: [${approver('alice', alice.pem)}, ${approver('bob', bob.ssh)}]`

describe('approvals in keyturn.yaml', () => {
  test('a key is the same as PEM and as OpenSSH writes it', () => {
    for (const key of [alice, bob, eve]) {
      for (const written of [key.pem, key.ssh, `${key.ssh} somebody@host`, `  ${key.pem}`]) {
        expect(parseApproverKey(written)).toEqual({ raw: Buffer.from(key.raw, 'base64') })
      }
    }
  })

  test('the fingerprint is the one that ssh-keygen shows', () => {
    const file = path.join(freshFolder(), 'alice.pub')
    writeFileSync(file, `${alice.ssh}\n`)
    const shown = execFileSync('ssh-keygen', ['-lf', file], { encoding: 'utf8' })
    expect(shown).toContain(keyFingerprint(alice.raw))
  })

  test.each<[string, string]>([
    [
      `approvers: [${approver('alice', alice.pem)}, ${approver('eve', alice.ssh)}]`,
      'is the key of "alice" already',
    ],
    [
      `approvers: [${approver('alice', alice.pem)}, ${approver('ALICE', bob.ssh)}]`,
      '"approvals.approvers[1].name" appears twice',
    ],
    [`${two}, remove: 3`, '"approvals.remove" must be at most the number of approvers (2)'],
    [`${two}, store: 3`, '"approvals.store" must be at most the number of approvers (2)'],
    [`${two}, rotate: 2, settings: 1`, '"approvals.settings" must be at least 2'],
    [`approvers: [${approver('', alice.ssh)}]`, 'name" must not be empty'],
    [`approvers: [${approver('al\\u202eice', alice.ssh)}]`, 'a character that cannot be shown'],
    [
      `approvers: [${approver('a', `${bob.ssh.slice(0, -6)}AAAA`)}]`,
      'is no complete "ssh-ed25519"',
    ],
    [`approvers: [${approver('a', 'ssh-rsa AAAAB3NzaC1yc2E=')}]`, 'is a key of type ssh-rsa'],
    [
      `approvers: [${approver('a', 'sk-ssh-ed25519@openssh.com AAAA')}]`,
      'is a key of type sk-ssh-ed25519@openssh.com',
    ],
    [`approvers: [${approver('a', 'alice')}]`, 'is neither a PEM of an Ed25519 public key nor'],
    [`approvers: [{ name: a }]`, '"approvals.approvers[0].key" is missing'],
    [`needed: 2`, 'unknown key "approvals.needed"'],
  ])('are refused: %s', (approvals, message) => {
    const answer = found(approvals)
    expect(answer).toMatch(/^config-(invalid|unknown-key): keyturn.yaml:/)
    expect(answer).toContain(message)
  })

  test.each(['rsa', 'ec', 'ed448', 'x25519'] as const)(
    'a %s key is refused by its type',
    (type) => {
      const pair =
        type === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          : type === 'ec'
            ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
            : generateKeyPairSync(type as 'ed448')
      const pem = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString()
      expect(found(`approvers: [${approver('a', pem)}]`)).toContain(`is a key of type ${type}, not`)
    },
  )

  test('a private key in the place of a public one is refused and never shown', () => {
    const secret = alice.pkcs8.split('\n')[1] ?? ''
    const places = [
      `approvers: [${approver('a', alice.pkcs8)}]`,
      `approvers: [${approver(alice.pkcs8.replaceAll('\n', '\\n'), alice.ssh)}]`,
      `approvers: ${JSON.stringify(alice.pkcs8)}`,
      `approvers: [${JSON.stringify(alice.pkcs8)}]`,
      `remove: ${JSON.stringify(alice.pkcs8)}`,
    ]
    for (const place of places) {
      const answer = found(place)
      expect(answer).toMatch(/^config-invalid/)
      expect(answer).not.toContain(secret.slice(0, 12))
    }
    expect(found(places[0] ?? '')).toContain('is a private key: write the public one')
  })

  test('points of small order are refused: anybody could sign for them', () => {
    for (const hex of ['00', '01', 'ec', 'ed', 'ee']) {
      const raw = Buffer.from(hex.padEnd(64, hex > '01' ? 'f' : '0'), 'hex')
      if (hex > '01') raw[31] = 0x7f
      for (const sign of [0, 0x80]) {
        const point = Buffer.from(raw)
        point[31] = (point[31] ?? 0) | sign
        const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), point])
        const pem = `-----BEGIN PUBLIC KEY-----\n${der.toString('base64')}\n-----END PUBLIC KEY-----\n`
        expect(parseApproverKey(pem)).toEqual({
          refusal: expect.stringContaining('small order') as string,
        })
      }
    }
  })

  test('the number for settings defaults to the largest of the others', () => {
    const { approvals } = load(`${least}approvals: { ${two}, remove: 1, rotate: 2 }\n`)
    expect(approvals).toMatchObject({ remove: 1, rotate: 2, settings: 2, store: 0 })
    expect(approvals.approvers).toEqual([
      { name: 'alice', key: alice.raw },
      { name: 'bob', key: bob.raw },
    ])
  })
})

test('docs/configuration.md has a line for each key of the section', () => {
  const page = readFileSync('docs/configuration.md', 'utf8')
  for (const key of ['approvers', 'remove', 'rotate', 'settings', 'store', 'expires']) {
    expect(page).toContain(`| \`approvals.${key}\` |`)
  }
})

test('the commands of docs/approvals.md make a key, and a signature that counts', () => {
  const blocks = [...readFileSync('docs/approvals.md', 'utf8').matchAll(/```sh\n([^`]*)```/g)]
  const [make = '', signElsewhere = ''] = blocks.map(([, commands = '']) => commands)
  const cwd = freshFolder()
  const sh = (commands: string) => execFileSync('sh', ['-euc', commands], { cwd, encoding: 'utf8' })
  sh(make)
  const { raw } = readApprovalKey(path.join(cwd, 'alice.pem'))
  const written = readFileSync(path.join(cwd, 'alice.pub'), 'utf8')
  expect(parseApproverKey(written)).toEqual({ raw: Buffer.from(raw, 'base64') })

  const text = '{"type":"keyturn-approval/1"}'
  const requests = `keyturn() { case $1 in requests) printf %s '${text}' > "$5" ;; *) printf %s "$6" ;; esac; }`
  const signature = sh(`ID=q-1; ${requests}\n${signElsewhere}`)
  expect(isSignedBy(text, signature, raw)).toBe(true)
})

test.each<[string, string]>([
  ['-aes-256-cbc -pass pass:x', 'is encrypted'],
  ['-algorithm x25519', 'is a key of type x25519, not ed25519'],
])('a private key made with %s is refused by kind', (options, message) => {
  const file = path.join(freshFolder(), 'key.pem')
  const algorithm = options.includes('-algorithm') ? [] : ['-algorithm', 'ed25519']
  execFileSync('openssl', ['genpkey', ...algorithm, ...options.split(' '), '-out', file])
  chmodSync(file, 0o400)
  expect(fault(() => readApprovalKey(file))).toContain(message)
  chmodSync(file, 0o444)
  expect(fault(() => readApprovalKey(file))).toContain('pin-file-unsafe: key file')
})
