import { rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { findServer } from '../../devstack/servers/find-server.ts'
import { freshFolder } from '../../devstack/stack-folder.ts'
import { startTemporalServer } from '../../devstack/temporal-server.ts'
import { openFleet } from '../support/fleet.ts'

test('a server that keeps no builds apart is served without them, and told apart', async () => {
  const folder = await freshFolder('without-builds')
  const { path } = await findServer('temporal', { say: console.error })
  const settings = ['system.enableDeploymentVersions=false']
  const server = await startTemporalServer({ path, folder, ui: false, settings })
  try {
    const { address: temporalAddress } = server
    const fleet = await openFleet({ provider: 'env', nodes: ['vm-a'], temporalAddress })
    try {
      await fleet.fill(20)
      expect(await fleet.must('rotate', '--to-version', '2')).toMatchObject({
        outcome: 'completed',
      })
      expect(await fleet.nodes.log('vm-a')).toContain('temporal keeps no builds apart')
      expect(await fleet.must('setup')).toMatchObject({ build: { by: 'off' } })
      const { workflows } = await fleet.must('status')
      expect(workflows).toMatchObject({ versioned: false, workers: [{ node: 'vm-a' }] })
      const { json } = await fleet.cli('doctor')
      const { checks } = json as unknown as { checks: { check: string; detail: string }[] }
      const builds = checks.find(({ check }) => check === 'builds')
      expect(builds?.detail).toContain('keeps no builds apart')
    } finally {
      await fleet.close()
    }
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}, 240_000)
