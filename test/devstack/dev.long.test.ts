import { rm } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import type { DevAddresses } from '../../devstack/run-dev.ts'
import { freshFolder } from '../../devstack/stack-folder.ts'
import { processes } from '../support/processes.ts'
import { livingIn } from './processes-in.ts'

describe('keyturn dev', () => {
  const run = processes()

  test('prints the settings for another terminal, runs until it is stopped, and keeps its data', async () => {
    const folder = await freshFolder('dev')
    const dev = run.cli(['dev', '--data', folder, '--nodes', '1', '--provider', 'env', '--json'])
    const addresses = JSON.parse(await dev.line(/^\{/, 60_000)) as DevAddresses
    expect(addresses.workers).toMatchObject([{ node: 'vm-a' }])

    const shell = `. '${addresses.env}' && exec "$0" dist/cli/main.js status --json`
    const status = await run.spawn('/bin/sh', ['-c', shell, process.execPath]).exit()
    expect(JSON.parse(status.stdout)).toMatchObject({ fleet: [{ node: 'vm-a', live: true }] })

    dev.process.signal('SIGTERM')
    expect((await dev.exit()).code).toBe(0)
    expect(livingIn(folder)).toEqual([])
    await rm(folder, { recursive: true })
  })
})
