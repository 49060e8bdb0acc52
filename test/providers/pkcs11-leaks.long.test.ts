import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { KekDescriptor } from '../../contracts/kek.ts'
import { canBuildFaultHsm, type FaultHsm } from '../fault-hsm/fault-hsm.ts'
import { faultFixture, randomDeks, sealedItems, until, type Pkcs11Fixture } from './fixture.ts'

const there = inject('softhsm') !== null && (await canBuildFaultHsm())
/** A full run uses KEYTURN_ROUNDS=500. */
const rounds = Number(process.env['KEYTURN_ROUNDS'] ?? 8)
/** Memory is compared after this many rounds have warmed everything up. */
const warm = Math.ceil(rounds / 4)
const faults = [
  'answer C_EncryptInit 179 2',
  'answer C_Encrypt 48 1',
  'crash C_Encrypt 1',
  'answer crypt 6 3',
  'sessions dropped',
  'handles stale',
  'answer C_OpenSession 177 1',
  'answer C_EncryptInit 257 1',
]

describe.skipIf(!there)('open, use, fault and close, again and again', () => {
  let fixture: Pkcs11Fixture & { fault: FaultHsm }
  let fault: FaultHsm
  let keys: KekDescriptor[]

  beforeAll(async () => {
    fixture = await faultFixture()
    fault = fixture.fault
    const provider = await fixture.open()
    keys = [await fixture.make(provider, 1), await fixture.make(provider, 2)]
    await provider.close()
  })
  afterAll(async () => {
    await fixture.close()
  })

  /** A pool under load whose token has a fault in the middle of a page. */
  const round = async (number: number): Promise<void> => {
    const provider = await fixture.open()
    try {
      for (const key of keys) await provider.load(key)
      const items = await sealedItems(provider, 1, randomDeks(60))
      const running = provider.rewrap({ from: 1, to: 2, check: 'all', items })
      await fault.set(faults[number % faults.length] ?? '')
      const wraps = provider.wrap(1, randomDeks(5))
      const { outcomes } = await running
      expect(outcomes.every(({ ok }) => ok)).toBe(true)
      await wraps
    } finally {
      await fault.heal()
      await provider.close()
    }
  }

  test(
    'leaves no session, no thread, no child and no memory behind',
    async () => {
      const before = { children: children(), threads: ofStatus('Threads') }
      let memory = 0
      for (let number = 0; number < rounds; number++) {
        await round(number)
        expect((await fault.counters()).openSessions).toBe(0)
        expect(children()).toEqual(before.children)
        if (number + 1 === warm) memory = ofStatus('VmRSS')
      }
      await until(() => ofStatus('Threads') <= before.threads)
      // Kilobytes: what the garbage collector has not come to yet is noise, a leak grows with the rounds.
      const grown = ofStatus('VmRSS') - memory
      if (rounds > 50) console.log(`${rounds} rounds: RSS grew by ${grown} kB after round ${warm}`)
      expect(grown).toBeLessThan(40_000 + 40 * rounds)
    },
    60_000 + 5_000 * rounds,
  )
})

function children(): number[] {
  return readdirSync('/proc/self/task').flatMap((task) =>
    readFileSync(`/proc/self/task/${task}/children`, 'utf8')
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number),
  )
}

function ofStatus(name: 'Threads' | 'VmRSS'): number {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1],
  )
}
