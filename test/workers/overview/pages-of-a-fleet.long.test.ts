import { expect, test } from 'vitest'
import { openFleet } from '../../support/fleet.ts'
import { ask } from '../listener/support.ts'

test('all workers of a fleet show one census, with its time', async () => {
  const fleet = await openFleet({ provider: 'env' })
  try {
    await fleet.fill(20)
    const addresses = await Promise.all(
      ['vm-a', 'vm-b'].map(async (node) => {
        const [, address = ''] =
          /"listen":"(127\.0\.0\.1:[1-9]\d*)"/.exec(await fleet.nodes.log(node)) ?? []
        return address
      }),
    )
    const bodies = await fleet.until('both show an overview', async () => {
      const answers = await Promise.all(addresses.map((address) => ask(address, '/api/status')))
      return answers.every(({ status }) => status === 200) && answers.map(({ body }) => body)
    })
    const [one, other] = bodies.map((body) => JSON.parse(body) as Record<string, unknown>)
    expect(one).toMatchObject({
      install: fleet.install,
      node: 'vm-a',
      active: { version: 1 },
      fleet: { live: 2, missing: 0 },
    })
    expect({ ...other, node: 'vm-a' }).toEqual(one)
    const { body } = await ask(addresses[0] ?? '', '/metrics')
    expect(body).toMatch(/keyturn_envelopes\{version="1",collection="certificates",.*\} \d+/)
    expect(body).toMatch(/keyturn_fleet_processes\{state="live",.*\} [23]/)
  } finally {
    await fleet.close()
  }
}, 120_000)
