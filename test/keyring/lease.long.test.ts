import { describe, expect, inject, test } from 'vitest'
import { waitUntil } from '../../devstack/wait-until.ts'
import { openLeaseClock } from '../../keyring/lease-clock.ts'
import { processes } from '../support/processes.ts'
import { openTcpProxy } from '../support/tcp-proxy.ts'
import { openTestFleet, secretPlace } from './test-fleet.ts'

describe('the lease of a keyring', () => {
  const children = processes()

  test.each(['cut', 'hold'] as const)(
    'ends when the connection to MongoDB is lost (%s), and is renewed when it is back',
    async (how) => {
      const fleet = await openTestFleet()
      const proxy = await openTcpProxy(inject('mongoUri'))
      try {
        const env = { ...fleet.env, KEYTURN_MONGODB_URI: proxy.uri }
        const keyring = await fleet.keyring({ env })
        const lost: object[] = []
        keyring.on('lease-lost', (event) => lost.push(event))
        const envelope = await keyring.seal('x', secretPlace)
        proxy[how]()
        // Its lease is still valid: a short outage stops no process.
        expect((await keyring.seal('y', secretPlace)).kek_version).toBe(1)
        await waitUntil(
          'it goes on wrapping',
          () =>
            keyring.seal('z', secretPlace).then(
              () => null,
              (error: unknown) => (error as { code?: string }).code ?? 'none',
            ),
          { withinMs: 60_000 },
        ).then((code) => expect(code).toBe('lease-expired'))
        expect(lost).toHaveLength(1)
        // Opening needs no lease.
        expect(String(await keyring.open(envelope, secretPlace))).toBe('x')
        proxy.heal()
        await waitUntil(
          'it never wraps again',
          () => keyring.seal('z', secretPlace).then(Boolean, () => null),
          {
            withinMs: 60_000,
          },
        )
      } finally {
        proxy.heal()
        await proxy.close()
      }
    },
  )

  test('is over when a frozen process wakes, so nothing is wrapped under the version that it knew', async () => {
    const fleet = await openTestFleet({ versions: [1, 2] })
    const script = new URL('fixtures/seal-for-ever.mjs', import.meta.url).pathname
    const env = { ...fleet.env, KEYTURN_CONFIG: fleet.configFile }
    const child = children.spawn(process.execPath, [script], { env })
    await child.line('sealed under 1')
    child.process.signal('SIGSTOP')
    await fleet.activate(2)
    const [frozen] = await fleet.heartbeats()
    const leaseOver = frozen!.lease_until.getTime()
    await waitUntil(
      'its lease never ended',
      async () => {
        const { localTime } = await fleet.store.db.command({ hello: 1 })
        return (localTime as Date).getTime() > leaseOver
      },
      { withinMs: 60_000 },
    )
    const woken = Date.now()
    child.process.signal('SIGCONT')
    const begun = () => [...child.stdout().matchAll(/sealed under (\d) begun (\d+)\n/g)]
    const since = () =>
      begun()
        .filter((match) => Number(match[2]) >= woken)
        .map((match) => match[1])
    // The first one under version 2 may have begun before the freeze.
    await waitUntil('nothing was sealed since', () => since().length > 0, { withinMs: 60_000 })
    expect(begun().some((match) => match[1] === '1')).toBe(true)
    expect(since()).not.toContain('1')
    await child.stop()
  })
})

describe('the clocks of a lease', () => {
  test('are monotonic, boot-time and wall clock, read at one moment', () => {
    const clock = openLeaseClock()
    const one = clock.read()
    const other = clock.read()
    clock.close()
    expect(other.monotonicMs).toBeGreaterThanOrEqual(one.monotonicMs)
    expect(other.bootMs).toBeGreaterThanOrEqual(one.bootMs)
    expect(Math.abs(other.wallMs - Date.now())).toBeLessThan(5000)
  })

  test('work without /proc/uptime', () => {
    const clock = openLeaseClock('/nowhere')
    const { monotonicMs, bootMs } = clock.read()
    expect(bootMs).toBe(monotonicMs)
    clock.close()
  })
})
