import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { silentLog } from '../../observability/log.ts'
import { LaneSet, type PoolLane } from '../../providers/pkcs11/pool/lane-set.ts'
import { canBuildFaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture, until } from './fixture.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())

describe.skipIf(!there)('a lane process that is lost while another lane logs in inside it', () => {
  let fixture: Awaited<ReturnType<typeof faultFixture>>
  let laneSet: LaneSet
  beforeAll(async () => {
    fixture = await faultFixture()
  })
  afterEach(async () => {
    await laneSet.close()
    await fixture.fault.heal()
  })
  afterAll(() => fixture.close())

  /** One lane, and a second one in its process whose login has begun; `line` of the control file decides how the login goes. */
  async function loggingIn(line: string): Promise<{ first: PoolLane; failed: Promise<unknown> }> {
    const { config, token, fault } = fixture
    laneSet = new LaneSet({ config, pin: token.pin, log: silentLog, cores: 1 })
    const first = await laneSet.open()
    const begun = (await fault.counters()).calls['C_Login'] ?? 0
    await fault.set('sessions dropped', line)
    const failed = laneSet.open().catch((error: unknown) => error)
    await until(async () => ((await fault.counters()).calls['C_Login'] ?? 0) > begun)
    return { first, failed }
  }

  test('ends after that login, and gets no work until then', async () => {
    const logins = await fixture.fault.logins(0)
    const { first, failed } = await loggingIn('latency C_Login 1000')
    laneSet.lose(first.host)
    expect([first.host.alive, laneSet.lanes]).toEqual([false, []])
    await expect(first.host.send(0, { op: 'check' }, 1_000)).rejects.toMatchObject({
      why: 'discarded',
    })
    await first.host.exited
    // Its own, and the one that was under way: what is killed in it logs nothing.
    expect(await fixture.fault.logins(0)).toBe(logins + 2)
    expect(await failed).toMatchObject({ fault: { code: 'hsm-away' } })
  })

  test('also ends when that login does not return', async () => {
    const { first, failed } = await loggingIn('hang C_Login 1')
    laneSet.lose(first.host)
    await first.host.exited
    expect(await failed).toMatchObject({ fault: { code: 'hsm-away' } })
    await fixture.fault.heal()
    expect((await laneSet.open()).host.alive).toBe(true)
  })
})
