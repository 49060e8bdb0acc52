import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { ActivityDeps } from '../../activities/deps.ts'
import { nodeActivities } from '../../activities/node-proofs.ts'
import { openProvider } from '../../keyring/open-provider.ts'
import { silentLog } from '../../observability/log.ts'
import { envPrefix, openTestFleet } from '../keyring/test-fleet.ts'

/** While a new key is rolled out, `verify` asks a host for the next version, not the active one. */
test.each([
  ['lacks', undefined, 'material-missing'],
  ['contradicts', randomBytes(32).toString('hex'), 'wrong-key'],
] as const)('a host that %s the next key reports it when asked', async (_title, kek, reason) => {
  const fleet = await openTestFleet({ versions: [1] })
  await fleet.install(2)
  const env = { ...fleet.env, [`${envPrefix}2`]: kek }
  const provider = await openProvider(fleet.config, env, silentLog)
  const member = await fleet.member({ provider })
  const { config, store } = fleet
  const host = nodeActivities({
    config,
    store,
    node: 'vm-a',
    provider,
    member,
  } as unknown as ActivityDeps)
  expect(await host.proveVersion({ target: 2 })).toMatchObject({ reason, nonce: null })
  expect(await host.proveVersion({ target: 1 })).toMatchObject({ reason: null })
})
