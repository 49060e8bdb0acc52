import canonicalize from 'canonicalize'
import { createHash, createPublicKey, verify } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { SignedHead } from '../../contracts/audit.ts'
import { exportedAudit } from '../support/exported-audit.ts'
import { openFleet, type Fleet } from '../support/fleet.ts'
import { pausedRotation } from '../support/paused-rotation.ts'

/** The record of a small life, by the commands of an operator; its heads are kept in a file and at a web server. */
let fleet: Fleet
let server: Server
const posted: SignedHead[] = []
let isRefusing = true

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
    request.on('end', () => {
      if (!isRefusing) posted.push(JSON.parse(body) as SignedHead)
      response.writeHead(isRefusing ? 503 : 204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const audit = {
    signing_key: 'audit.key',
    anchor_file: 'heads.jsonl',
    anchor_url: `http://127.0.0.1:${port}/heads`,
  }
  fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], config: { audit } })
  await fleet.fill(40)
})
afterAll(async () => {
  await fleet.close()
  server.closeAllConnections()
  server.close()
})

const headsFile = () => path.join(fleet.folder, 'heads.jsonl')

async function keptHeads(): Promise<SignedHead[]> {
  const lines = (await readFile(headsFile(), 'utf8').catch(() => '')).trim().split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as SignedHead)
}

test('setup makes the signing key and records its public half', async () => {
  expect((await stat(path.join(fleet.folder, 'audit.key'))).mode & 0o777).toBe(0o600)
  const head = (await fleet.must('audit', 'head')) as unknown as SignedHead
  expect(head).toMatchObject({ type: 'keyturn-head/1', install: fleet.identity.id })
  const { signature, key, ...signed } = head
  const bytes = Buffer.from(canonicalize(signed)!)
  const isSigned = verify(null, bytes, createPublicKey(key!), Buffer.from(signature!, 'base64'))
  expect(isSigned).toBe(true)
  const unsigned = await fleet.writeConfig('unsigned', { audit: { signing_key: 'other.key' } })
  const end = await fleet.cli('--config', unsigned, 'audit', 'head')
  expect(end).toMatchObject({ code: 0, json: { signature: null, key: null } })
  expect(end.stderr).toContain('unsigned')
})

test('a rotation is told from its request to its end, with what steers it', async () => {
  const { rotation } = await pausedRotation(fleet)
  await fleet.must('rate', '0')
  await fleet.must('resume')
  const { json } = await rotation.end()
  const { rotationId: subject } = json
  const { entries } = await fleet.must('audit', 'list', '--subject', subject)
  expect(entries.map(({ action }) => action)).toEqual([
    'rotation-requested',
    'rotation-started',
    'rotation-promoted',
    'rotation-paused',
    'rotation-rate-changed',
    'rotation-resumed',
    'rotation-completed',
  ])
  const { entries: number, head } = json['auditHead'] as { entries: number; head: string }
  const at = ['--head', head, '--entries', `${number}`]
  expect(await fleet.must('audit', 'verify', ...at)).toMatchObject({ ok: true })
})

test('entries are listed by time, action and subject', async () => {
  const list = async (...args: string[]) => (await fleet.must('audit', 'list', ...args)).entries
  const installed = await list('--action', 'version-installed')
  expect(installed).toMatchObject([{ subject: 'v1' }, { subject: 'v2' }])
  const user = { user: expect.any(String) as string, host: expect.any(String) as string }
  expect(installed[0]).toMatchObject({ actor: { ...user, claimed: true } })
  expect(await list('--action', 'version-installed', '--limit', '1')).toHaveLength(1)
  expect((await list('--since', '1d')).length).toBeGreaterThan(5)
  expect(await list('--since', '2100-01-01')).toEqual([])
  const odd = await fleet.cli('audit', 'list', '--since', 'yesterday')
  expect(odd).toMatchObject({ code: 2, json: { error: { code: 'usage' } } })
})

test('each exported line is the form that its hash is over', async () => {
  const lines = await exportedAudit(fleet)
  let prev = '0'.repeat(64)
  for (const [index, line] of lines.entries()) {
    const { hash, ...entry } = JSON.parse(line) as { hash: string; _id: number; prev: string }
    expect(line).toBe(canonicalize({ ...entry, hash }))
    expect(entry).toMatchObject({ _id: index + 1, prev })
    expect(hash).toBe(createHash('sha256').update(canonicalize(entry)!).digest('hex'))
    prev = hash
  }
  const cef = await exportedAudit(fleet, '--format', 'cef')
  expect(cef.length).toBeGreaterThanOrEqual(lines.length)
  for (const line of cef) {
    expect(line).toMatch(
      /^CEF:0\|Keyturn\|keyturn\|[^|]+\|[a-z-]+\|[a-z ]+\|\d+\|rt=\d+ externalId=\d+ /,
    )
  }
})

test('heads are kept in the file, and at the server once it answers; each is an entry', async () => {
  const log = () => fleet.nodes.log('vm-a')
  await fleet.until('the log does not tell what fails', async () =>
    /the head of the audit is not kept: audit.anchor_url: .*503/.test(await log()),
  )
  expect(await log()).toContain('head of the audit')
  await fleet.until('the file has no head', async () => (await keptHeads()).length > 0)
  expect(posted).toEqual([])
  isRefusing = false
  await fleet.until('the server gets no head', () => Promise.resolve(posted.length > 0))
  const anchored = async (place: string) =>
    (await fleet.must('audit', 'list', '--action', 'head-anchored', '--subject', place)).entries
  await fleet.until('it is not recorded', async () => (await anchored('url')).length > 0)
  expect((await anchored('file')).length).toBeGreaterThan(0)
  expect(await fleet.must('audit', 'verify', '--head', headsFile())).toMatchObject({ ok: true })
})

test('a tail that is cut off is found by the kept heads alone', async () => {
  const [last] = (await keptHeads()).slice(-1)
  await fleet.nodes.kill('vm-a')
  await fleet.store.db
    .collection<{ _id: number }>('kek_audit')
    .deleteMany({ _id: { $gte: last!.entries } })
  expect(await fleet.must('audit', 'verify')).toMatchObject({ ok: true })
  const found = await fleet.cli('audit', 'verify', '--head', headsFile())
  expect(found).toMatchObject({ code: 5, json: { ok: false, error: { code: 'audit-broken' } } })
})
