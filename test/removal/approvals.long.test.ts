import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { requester } from '../../client/temporal/names.ts'
import { readVersion } from '../../store/kek-versions.ts'
import { currentRemoval } from '../../store/removal-requests.ts'
import { approverKey, type TestKey } from '../support/approvers.ts'
import { chainedAudit } from '../support/chained-audit.ts'
import { onEachProvider } from '../support/each-provider.ts'
import type { CliEnd, Fleet } from '../support/fleet.ts'

const [alice, bob, eve] = ['alice', 'bob', 'eve'].map(approverKey) as [TestKey, TestKey, TestKey]
const self = { ...approverKey('self'), name: requester().split('@')[0] ?? '' }
const approvers = [alice, bob, eve, self].map(({ name, ssh }) => ({ name, key: ssh }))
const folder = mkdtempSync(path.join(tmpdir(), 'keyturn-approvers-'))
const options = {
  records: 40,
  versions: [1, 2, 3],
  config: {
    removal: { backup_window: '0s', undo_window: '0s' },
    approvals: { approvers, remove: 2, rotate: 1, settings: 2, expires: '1h' },
  },
}

onEachProvider('approvals', options, (fleetOf, provider) => {
  const removal = ['remove', '--version', '1', ...(provider === 'env' ? [] : ['--destroy-hsm-key'])]

  test('a rotation needs one', async () => {
    const fleet = fleetOf()
    const first = await fleet.cli('rotate', '--to-version', '2')
    const id = requestOf(first, 1)
    expect(await fleet.active()).toBe(1)
    // Requested by this user, so its own approval does not count.
    expect(await approval(fleet, id, self)).toMatchObject({ code: 3, error: 'approval-invalid' })
    expect(await approval(fleet, id, alice)).toEqual({ code: 0, approvedBy: ['alice'] })
    expect((await fleet.cli('rotate', '--to-version', '2', '--check', 'none')).code).not.toBe(0)
    await fleet.must('rotate', '--to-version', '2')
    expect((await fleet.must('requests')).requests).toEqual([])
  })

  test('a removal opens a request only if nothing else prevents it', async () => {
    const fleet = fleetOf()
    const active = await fleet.cli('remove', '--version', '2')
    expect(active).toMatchObject({ code: 3, json: { error: { code: 'removal-refused' } } })
    expect(active.json['request']).toBeUndefined()
    const dry = await fleet.cli(...removal, '--dry-run')
    expect(dry).toMatchObject({ code: 3, json: { error: { code: 'approval-missing' } } })
    expect((await fleet.must('requests')).requests).toEqual([])
  })

  test('of two of three destroy a version, and no key before', async () => {
    const fleet = fleetOf()
    const id = requestOf(await fleet.cli(...removal), 2)
    expect(requestOf(await fleet.cli(...removal), 2)).toBe(id)
    expect(await currentRemoval(fleet.store, 1)).toBeNull()
    expect((await fleet.must('status'))['requests']).toMatchObject([{ id, subject: 'v1' }])

    expect(await approval(fleet, id, alice)).toEqual({ code: 0, approvedBy: ['alice'] })
    expect(await approval(fleet, id, alice)).toEqual({ code: 0, approvedBy: ['alice'] })
    // Another option is another request.
    const other = requestOf(await fleet.cli(...removal, '--without-fence'), 2)
    expect(other).not.toBe(id)
    expect(requestOf(await fleet.cli(...removal), 2)).toBe(id)

    const text = path.join(folder, `${id}.text`)
    await fleet.must('requests', 'show', id, '--out', text)
    const byHand = opensslSignature(eve, text)
    const given = ['--name', 'eve', '--signature']
    expect(await refusal(fleet, id, ...given, opensslSignature(bob, text))).toBe('approval-invalid')
    expect(await refusal(fleet, other, ...given, byHand)).toBe('approval-invalid')
    expect(await refusal(fleet, id, ...given, sshSignature(eve, text))).toBe('approval-invalid')
    expect(await refusal(fleet, 'q-unknown', ...given, byHand)).toBe('request-unknown')
    expect((await fleet.cli('--yes', 'approve', id, ...given, byHand)).code).toBe(0)

    const done = await fleet.cli(...removal)
    expect(done.json).toMatchObject({ version: 1, state: 'destroyed' })
    expect(done.code).toBe(0)
    expect((await readVersion(fleet.store, 1))?.destroyed_at).not.toBeNull()
    if (provider !== 'env') expect(done.json['hsmKey']).toBe('destroyed')
    await fleet.must('requests', 'withdraw', other)
    const all = (await fleet.must('requests', 'list', '--all')).requests as { state: string }[]
    expect(all.map(({ state }) => state)).toEqual(['withdrawn', 'used', 'used'])
    const actions = (await chainedAudit(fleet.store)).map(({ action }) => action)
    expect(actions.filter((action) => action === 'request-used')).toHaveLength(2)
  })

  test('a change of approvers needs them, and so does its undoing', async () => {
    const fleet = fleetOf()
    const approvals = { approvers, remove: 0, rotate: 0, settings: 0 }
    const config = await fleet.writeConfig('weaker', { ...options.config, approvals })
    const change = async () => await fleet.cli('--config', config, '--yes', 'setup')
    const id = requestOf(await change(), 2)
    const { changes } = (await fleet.must('requests', 'show', id)).options as { changes: string[] }
    expect(changes).toContain('approvals.remove: 2 → 0')
    for (const key of [bob, eve]) expect((await approval(fleet, id, key)).code).toBe(0)
    expect((await change()).json).toMatchObject({ settings: 'changed' })
    const back = await fleet.cli('--yes', 'setup')
    expect(back.json).toMatchObject({ settings: 'changed', warnings: [expect.any(String)] })
  })

  test('a key file that others can read is refused', async () => {
    const fleet = fleetOf()
    const file = keyFile(alice)
    chmodSync(file, 0o644)
    expect(await refusal(fleet, 'q-unknown', '--key', file)).toBe('request-unknown')
    const id = requestOf(await fleet.cli('rotate', '--to-version', '3'), 1)
    expect(await refusal(fleet, id, '--key', file)).toBe('pin-file-unsafe')
    await fleet.must('requests', 'withdraw', id)
    expect(await refusal(fleet, id, '--key', file)).toBe('approval-invalid')
  })
})

function requestOf({ code, json }: CliEnd, required: number): string {
  expect({ code, error: json.error.code }).toEqual({ code: 3, error: 'approval-missing' })
  const request = json['request'] as { id: string }
  expect(request).toMatchObject({
    required,
    digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  })
  return request.id
}

async function approval(fleet: Fleet, id: string, key: TestKey) {
  const { code, json } = await fleet.cli('--yes', 'approve', id, '--key', keyFile(key))
  return code === 0 ? { code, approvedBy: json['approvedBy'] } : { code, error: json.error.code }
}

async function refusal(fleet: Fleet, id: string, ...by: string[]): Promise<string> {
  const { json } = await fleet.cli('--yes', 'approve', id, ...by)
  return json.error.code
}

function keyFile({ name, pkcs8 }: TestKey): string {
  const file = path.join(folder, `${name}.pem`)
  writeFileSync(file, pkcs8, { mode: 0o600 })
  chmodSync(file, 0o600)
  return file
}

/** As docs/approvals.md signs. */
function opensslSignature(key: TestKey, text: string): string {
  const sign = ['pkeyutl', '-sign', '-rawin', '-inkey', keyFile(key), '-in', text]
  return execFileSync('openssl', sign).toString('base64')
}

function sshSignature(key: TestKey, text: string): string {
  const file = keyFile({ ...key, name: `${key.name}-ssh` })
  try {
    return execFileSync('ssh-keygen', ['-Y', 'sign', '-f', file, '-n', 'keyturn'], {
      input: text,
      encoding: 'utf8',
    })
  } catch {
    // An older ssh-keygen reads no PKCS#8 key.
    return '-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----'
  }
}
