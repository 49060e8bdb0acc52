import { afterAll, beforeAll, describe, inject } from 'vitest'
import type { ProviderName } from '../../contracts/kek.ts'
import { openFleet } from './fleet.ts'
import type { Fleet, FleetOptions } from './fleet.ts'

/**
 * Runs the same tests on each provider. All tests of a provider share one fleet with `records` records: they leave it
 * usable, and may begin with either version active (`route`). Without SoftHSM2 its tests are skipped; servers.ts prints a
 * notice.
 */
export function onEachProvider(
  title: string,
  options: Omit<FleetOptions, 'provider'> & { records: number },
  tests: (fleet: () => Fleet, provider: ProviderName) => void,
): void {
  for (const provider of ['env', 'pkcs11'] as const) {
    const isMissing = provider === 'pkcs11' && inject('softhsm') === null
    describe.skipIf(isMissing)(`${title}, with ${provider}`, () => {
      let opened: Fleet | undefined
      beforeAll(async () => {
        opened = await openFleet({ ...options, provider })
        await opened.fill(options.records)
      })
      afterAll(async () => {
        await opened?.close()
      })
      tests(() => {
        if (opened === undefined) throw new Error('the fleet is not open')
        return opened
      }, provider)
    })
  }
}

/** From the active version to the other one of 1 and 2, and how many envelopes there are to re-wrap. */
export async function route(fleet: Fleet): Promise<{ from: number; to: number; total: number }> {
  const from = await fleet.active()
  const { [from]: total = 0 } = await fleet.census()
  return { from, to: 3 - from, total }
}
