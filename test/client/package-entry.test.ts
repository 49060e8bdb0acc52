import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { Config, readStatus, RotateRequest, StatusView } from 'keyturn/client'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')

/** An operator's program in its own process. Inside the package, Node resolves the package by its own name. */
async function evaluate(script: string): Promise<unknown> {
  const source = `import * as keyturn from 'keyturn/client'\n${script}`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', source], {
    cwd: root,
  })
  return JSON.parse(stdout)
}

test('keyturn/client exports each verb of an operator', async () => {
  const names = await evaluate('console.log(JSON.stringify(Object.keys(keyturn)))')
  const verbs = [
    'setup',
    'relocate',
    'examine',
    'installKek',
    'verifyFleet',
    'readNodes',
    'changeRoster',
    'planRotation',
    'rotate',
    'followRotation',
    'liveRotation',
    'steer',
    'cancelRotation',
    'removeKek',
    'previewRemoval',
    'undoRemoval',
    'setPolicy',
    'showPolicy',
    'suspendPolicy',
    'continuePolicy',
    'runPolicy',
    'deletePolicy',
    'readStatus',
    'readReport',
    'readAudit',
    'checkAudit',
    'auditHead',
    'exportAudit',
    'scan',
    'readQuarantine',
    'loadConfig',
    'KeyturnError',
  ]
  expect(names).toEqual(expect.arrayContaining(verbs))
})

test('keyturn/client is typed', () => {
  const read = (status: typeof readStatus, config: Config): Promise<StatusView> => status(config)
  const request = { from: 1, to: 2, reason: '', maxRate: 0, maxHsmCalls: 0, detach: true }
  expect(request satisfies RotateRequest).toBeDefined()
  expect(read).toBeTypeOf('function')
})

test('readStatus rejects with a coded error when MongoDB does not answer', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-client-'))
  const file = join(folder, 'keyturn.yaml')
  const settings = {
    install: 'payments',
    mongodb: { uri: 'mongodb://127.0.0.1:1/?replicaSet=rs0', database: 'app' },
    temporal: { address: '127.0.0.1:1' },
    kek: { provider: 'env' },
    collections: [{ name: 'certificates', envelopes: ['private_key'] }],
  }
  await writeFile(file, JSON.stringify(settings))
  try {
    const answer = await evaluate(`
      const config = keyturn.loadConfig({ file: ${JSON.stringify(file)} })
      const answer = await keyturn.readStatus(config).catch((error) => error)
      console.log(JSON.stringify({ code: answer.code, ours: answer instanceof keyturn.KeyturnError }))
      process.exit()`)
    expect(answer).toEqual({ code: 'mongodb-unreachable', ours: true })
  } finally {
    await rm(folder, { recursive: true })
  }
})
